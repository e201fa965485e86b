//! Calls gateways for some time over many routes, and has each call that finds none tried again. Prints a line for each.
//!
//! Usage: soak SECONDS PAUSE ATTEMPTS AUTHORITY ROUTE... A route is its name, = and its addresses, of which the next one
//! is tried after a failure; TLS is used if the name begins with tls. A line has the name, and how many calls were made,
//! tried again, and lost; then what the lost ones were told.

use std::{env, error::Error, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Status};
use wire_tests::{Client, channel};

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [seconds, pause, attempts, authority, routes @ ..] = arguments.as_slice() else {
        return Err("too few arguments".into());
    };
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let (pause, attempts) = (Duration::from_millis(pause.parse()?), attempts.parse()?);
    let mut all = JoinSet::new();
    for route in routes {
        let (name, addresses) = route.split_once('=').ok_or("a route without addresses")?;
        let files = if name.starts_with("tls") { std::slice::from_ref(authority) } else { &[] };
        let mut clients = Vec::new();
        for address in addresses.split(',') {
            clients.push(Client::new(channel(address, files)?));
        }
        all.spawn(follow(name.to_owned(), clients, end, pause, attempts));
    }
    while let Some(line) = all.join_next().await {
        println!("{}", line?);
    }
    Ok(())
}

async fn follow(name: String, mut clients: Vec<Client>, end: Instant, pause: Duration, attempts: u32) -> String {
    let (mut calls, mut again, mut lost, mut told) = (0_usize, 0, 0, String::new());
    let count = clients.len();
    while Instant::now() < end {
        for attempt in 1.. {
            let client = &mut clients[(calls + attempt as usize) % count];
            let Err(status) = client.read(&format!("sp_{calls}"), DEADLINE).await else {
                break;
            };
            if !is_lost(&status) || attempt == attempts {
                lost += 1;
                told += &format!(" {status:?}");
                break;
            }
            again += 1;
            sleep(pause * (1 << attempt)).await;
        }
        calls += 1;
        sleep(pause).await;
    }
    format!("tonic {name} {calls} {again} {lost}{told}")
}

/// Tells whether a call found no gateway, or lost its connection. What tonic makes of a connection that ends is cancelled
/// or internal, too, with the transport's error behind it, and is not the word of a gateway: docs/other-languages.md.
fn is_lost(status: &Status) -> bool {
    let is_told_by_transport = status.source().is_some();
    status.code() == Code::Unavailable
        || (is_told_by_transport && matches!(status.code(), Code::Cancelled | Code::Internal))
}

//! Calls a running gateway by tonic, in the ways in which its server could fail a client. Prints a line for each.
//!
//! Usage: calls ADDRESS [AUTHORITY [CERTIFICATE KEY]]. What upstream answers depends on how the reference begins:
//! large_, slow_, missing_, or anything else.

use std::{env, error::Error, time::Duration};

use tokio::time::timeout;
use tokio_stream::{StreamExt as _, iter};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;
use wire_tests::{Client, channel};

const LARGE: usize = 200_000;
const BEYOND: usize = 300_000;
const CANCELLATIONS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(20);

type Done = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, files) = arguments.split_first().ok_or("no address")?;
    let channel = channel(address, files)?;
    let client = Client::new(channel.clone());
    unary(client.clone()).await?;
    println!("unary");
    details(client.clone()).await?;
    println!("details");
    deadline(client.clone()).await?;
    println!("deadline");
    cancellation(client.clone()).await?;
    println!("cancellation");
    gzip(client.clone()).await?;
    println!("gzip");
    too_large(client).await?;
    println!("too large");
    health(channel.clone()).await?;
    println!("health");
    reflection(channel).await?;
    println!("reflection");
    Ok(())
}

async fn state(client: &mut Client, reference: &str) -> Result<String, Status> {
    let answer = client.read(reference, PATIENCE).await?;
    Ok(answer.into_inner().allocation.unwrap_or_default().state_text)
}

async fn failure(client: &mut Client, reference: &str) -> Result<Status, Box<dyn Error>> {
    match state(client, reference).await {
        Ok(told) => Err(format!("it did not fail, but told {told}").into()),
        Err(status) => Ok(status),
    }
}

async fn unary(mut client: Client) -> Done {
    assert!(!state(&mut client, "sp_1").await?.is_empty());
    for _ in 0..5 {
        assert_eq!(state(&mut client, "large_1").await?.len(), LARGE);
    }
    Ok(())
}

async fn details(mut client: Client) -> Done {
    let status = failure(&mut client, "missing_ü").await?;
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    let info = status.get_details_error_info().ok_or("no ErrorInfo")?;
    assert_eq!(info.reason, "RESOURCE_NOT_FOUND");
    Ok(())
}

async fn deadline(mut client: Client) -> Done {
    let status = match client.read("slow_1", Duration::from_millis(300)).await {
        Ok(_) => return Err("it did not fail".into()),
        Err(status) => status,
    };
    // tonic gives up by itself at the same time, and calls that a cancellation.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    Ok(())
}

async fn cancellation(mut client: Client) -> Done {
    for _ in 0..CANCELLATIONS {
        // What is dropped is cancelled.
        let given_up = timeout(Duration::from_millis(5), client.read("slow_2", PATIENCE)).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    unary(client).await
}

async fn gzip(client: Client) -> Done {
    let mut client = client.packing();
    assert!(!state(&mut client, "sp_gzip").await?.is_empty());
    // It was read, since a name is not so long.
    let status = failure(&mut client, &"x".repeat(LARGE)).await?;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    Ok(())
}

async fn too_large(mut client: Client) -> Done {
    for mut client in [client.clone(), client.clone().packing()] {
        let status = failure(&mut client, &"x".repeat(BEYOND)).await?;
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    assert!(!state(&mut client, "sp_1").await?.is_empty());
    Ok(())
}

async fn health(channel: Channel) -> Done {
    let mut told = HealthClient::new(channel).watch(HealthCheckRequest::default()).await?.into_inner();
    let first = timeout(PATIENCE, told.next()).await?.ok_or("nothing came")??;
    assert_eq!(first.status(), ServingStatus::Serving);
    // It is watched on.
    assert!(timeout(Duration::from_millis(300), told.next()).await.is_err());
    Ok(())
}

async fn reflection(channel: Channel) -> Done {
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices("*".into())),
    };
    let asked = iter(vec![question; 3]);
    let answers = ServerReflectionClient::new(channel).server_reflection_info(asked).await?.into_inner();
    let told: Vec<_> = timeout(PATIENCE, answers.collect()).await?;
    assert_eq!(told.len(), 3, "{told:?}");
    for answer in told {
        assert!(format!("{:?}", answer?).contains("ShipmentAllocationService"));
    }
    Ok(())
}

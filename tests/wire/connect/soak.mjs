// Calls gateways for some time over many routes, and has each call that finds none tried again. Prints a line for each.
//
// Usage: MODULES=FOLDER node soak.mjs SECONDS PAUSE ATTEMPTS CONTRACT AUTHORITY ROUTE... A route is its name, = and its
// addresses, of which the next one is tried after a failure; TLS is used if the name begins with tls. A line has the
// name, and how many calls were made, tried again, and lost; then what the lost ones were told.
import { setTimeout as sleep } from "node:timers/promises";

import { Code, ConnectError, contract, createClient, open } from "./gateway.mjs";

const [seconds, pause, attempts, descriptors, authority, ...routes] = process.argv.slice(2);
const end = Date.now() + seconds * 1000;
const service = contract(descriptors).getService("allocation.v1.ShipmentAllocationService");

// Raised where nobody can catch it, if a call begins while a connection that had none ends: connect-es#1768.
process.on("uncaughtException", (error) => {
  if (error.rawMessage !== "received GOAWAY without any open streams") throw error;
});

// A call that the end of its connection has refused was not begun. Most often its code is unavailable, and seldom internal.
function isRefused(error) {
  return error.code === Code.Unavailable || error.rawMessage.includes("NGHTTP2_REFUSED_STREAM");
}

async function follow(route) {
  const [name, addresses] = route.split("=");
  const files = name.startsWith("tls") ? [authority] : [];
  const clients = addresses.split(",").map((address) => createClient(service, open(address, files)));
  let [calls, again, lost, told] = [0, 0, 0, ""];
  for (; Date.now() < end; calls++) {
    for (let attempt = 1; ; attempt++) {
      try {
        const client = clients[(calls + attempt) % clients.length];
        await client.getShipmentAllocation({ shipmentReference: `sp_${calls}` }, { timeoutMs: 10_000 });
        break;
      } catch (failure) {
        const error = ConnectError.from(failure);
        if (!isRefused(error) || attempt === Number(attempts)) {
          lost++;
          told += ` ${error.message}`;
          break;
        }
        again++;
        await sleep(pause << attempt);
      }
    }
    await sleep(Number(pause));
  }
  console.log(`connect ${name} ${calls} ${again} ${lost}${told}`);
}

await Promise.all(routes.map(follow));
process.exit(0);

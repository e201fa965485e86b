// Allocates shipments in one of several ways, for bench/saving.py to see what that takes.
//
// Usage: node main.mjs WAY ADDRESS PREFIX GROUP IN_FLIGHT WARM_UP CALLS
//
// References are the prefix and twelve digits. It says "ready" when it is warm, makes its calls when a line has come, and says
// "done" with the carrier and the price of one of them. Then it waits until its input ends.
import { createInterface } from "node:readline";

const [way, address, prefix, group, ...counts] = process.argv.slice(2);
const [inFlight, warmUp, calls] = counts.map(Number);
const { open } = await import(`./${way}.mjs`);
const allocate = open(address);
let last = 0;
let told;

async function run(count) {
  let taken = 0;
  const worker = async () => {
    while (taken++ < count) {
      told = await allocate(`${prefix}${String(++last).padStart(12, "0")}`, group);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await run(warmUp);
console.log("ready");
await input.next();
await run(calls);
console.log("done", ...told.map(String));
await input.next();
process.exit();

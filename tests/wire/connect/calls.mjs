// Calls a running gateway by Connect for Node, in the ways in which its server could fail a client. Prints a line for
// each.
//
// Usage: MODULES=FOLDER node calls.mjs ADDRESS CONTRACT [AUTHORITY [CERTIFICATE KEY]]. What upstream answers depends on
// how the reference begins: large_, slow_, missing_, or anything else.
import assert from "node:assert/strict";

import { Code, ConnectError, contract, createClient, open } from "./gateway.mjs";

const LARGE = 200_000;
const BEYOND = 300_000;
const PATIENCE = { timeoutMs: 20_000 };
const [address, descriptors, ...files] = process.argv.slice(2);
const registry = contract(descriptors);
const service = registry.getService("allocation.v1.ShipmentAllocationService");
const transport = open(address, files);
const client = createClient(service, transport);
const packing = createClient(service, open(address, files, { gzip: true }));

const read = (reference, { stub = client, ...options } = PATIENCE) =>
  stub.getShipmentAllocation({ shipmentReference: reference }, { ...PATIENCE, ...options });

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return ConnectError.from(error);
  }
  return assert.fail("it did not fail");
}

const cases = {
  async unary() {
    assert.notEqual((await read("sp_1")).allocation.stateText, "");
    for (let round = 0; round < 5; round++) {
      assert.equal((await read("large_1")).allocation.stateText.length, LARGE);
    }
  },
  async details() {
    const error = await failure(read("missing_ü"));
    assert.equal(error.code, Code.NotFound);
    const [info] = error.findDetails(registry.getMessage("google.rpc.ErrorInfo"));
    assert.equal(info.reason, "RESOURCE_NOT_FOUND");
  },
  async deadline() {
    assert.equal((await failure(read("slow_1", { timeoutMs: 300 }))).code, Code.DeadlineExceeded);
  },
  async cancellation() {
    for (let number = 0; number < 50; number++) {
      const error = await failure(read("slow_2", { signal: AbortSignal.timeout(5) }));
      assert.ok([Code.Canceled, Code.DeadlineExceeded].includes(error.code), error);
    }
    await cases.unary();
  },
  async gzip() {
    assert.notEqual((await read("sp_gzip", { stub: packing })).allocation.stateText, "");
    const error = await failure(read("x".repeat(LARGE), { stub: packing }));
    assert.equal(error.code, Code.InvalidArgument); // it was read: a name is not so long
  },
  async "too large"() {
    for (const stub of [client, packing]) {
      assert.equal((await failure(read("x".repeat(BEYOND), { stub }))).code, Code.ResourceExhausted);
    }
    await cases.unary();
  },
  async health() {
    const health = createClient(registry.getService("grpc.health.v1.Health"), transport);
    const told = [];
    const watching = (async () => {
      for await (const answer of health.watch({}, { timeoutMs: 500 })) told.push(answer.status);
    })();
    // It is watched until its time is up.
    assert.equal((await failure(watching)).code, Code.DeadlineExceeded);
    assert.deepEqual(told, [1]);
  },
  async reflection() {
    const reflection = createClient(registry.getService("grpc.reflection.v1.ServerReflection"), transport);
    async function* questions() {
      for (let round = 0; round < 3; round++) yield { messageRequest: { case: "listServices", value: "*" } };
    }
    let count = 0;
    for await (const { messageResponse } of reflection.serverReflectionInfo(questions(), PATIENCE)) {
      assert.match(JSON.stringify(messageResponse.value.service), /ShipmentAllocationService/);
      count++;
    }
    assert.equal(count, 3);
  },
};

for (const [name, run] of Object.entries(cases)) {
  await run();
  console.log(name);
}
// Its connections would keep it running for as long as they are kept.
process.exit(0);

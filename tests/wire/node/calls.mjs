// Calls a running gateway by grpc-js, in the ways in which its server could fail a client. Prints a line for each.
//
// What upstream answers depends on how the reference begins: large_, slow_, missing_, or anything else.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [address, modules, ...folders] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const LARGE = 200_000;
const proto = loadSync("allocation/v1/shipment_allocation_service.proto", { includeDirs: folders, keepCase: true });
const { allocation } = grpc.loadPackageDefinition(proto);
const open = (options) =>
  new allocation.v1.ShipmentAllocationService(address, grpc.credentials.createInsecure(), options);
const client = open({});

/** Makes a call. Resolves to its error, answer, headers and trailers. */
function call(method, request, { metadata = new grpc.Metadata(), stub = client, seconds = 20, on = () => {} } = {}) {
  return new Promise((resolve) => {
    const told = {};
    const made = stub[method](request, metadata, { deadline: Date.now() + seconds * 1000 }, (error, answer) => {
      setImmediate(() => resolve({ ...told, error, answer }));
    });
    made.on("metadata", (headers) => (told.headers = headers));
    made.on("status", (status) => (told.status = status));
    on(made);
  });
}

const read = (reference, options) => call("GetShipmentAllocation", { shipment_reference: reference }, options);

const cases = {
  async "metadata both ways"() {
    const metadata = new grpc.Metadata();
    metadata.add("x-text", "a");
    metadata.add("x-text", "b");
    metadata.add("x-some-bin", Buffer.from([0, 255]));
    const told = await call("AllocateShipment", { shipment_reference: `sp_${Date.now()}` }, { metadata });
    assert.equal(told.error, null);
    assert.equal(told.headers.get("allocation-request-id").length, 1);
  },
  async deadline() {
    const { error } = await read("slow_1", { seconds: 0.3 });
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async cancellation() {
    for (let number = 0; number < 50; number++) {
      const { error } = await read("slow_2", { on: (made) => setTimeout(() => made.cancel(), 10) });
      assert.equal(error.code, grpc.status.CANCELLED);
    }
    assert.equal((await read("sp_1")).error, null);
  },
  async "details of a failure"() {
    const { error } = await read("missing_ü");
    assert.equal(error.code, grpc.status.NOT_FOUND);
    assert.match(error.metadata.get("grpc-status-details-bin")[0].toString("latin1"), /RESOURCE_NOT_FOUND/);
  },
  async "large answers, and many"() {
    for (let round = 0; round < 20; round++) {
      const all = await Promise.all(Array.from({ length: 20 }, (_, number) => read(`large_${number}`)));
      for (const { error, answer } of all) {
        assert.equal(error, null);
        assert.equal(answer.allocation.state_text.length, LARGE);
      }
    }
  },
  async "large requests, in gzip and not"() {
    for (const options of [{}, { "grpc.default_compression_algorithm": 2 }]) {
      const stub = open(options);
      const { error } = await read("x".repeat(LARGE), { stub });
      assert.equal(error.code, grpc.status.INVALID_ARGUMENT); // it was read: a name is not so long
      const beyond = await read("x".repeat(300_000), { stub });
      assert.equal(beyond.error.code, grpc.status.RESOURCE_EXHAUSTED);
      stub.close();
    }
  },
};

for (const [name, run] of Object.entries(cases)) {
  await run();
  console.log(name);
}
client.close();

import assert from "node:assert/strict";
import { once, EventEmitter } from "node:events";
import test, { type TestContext } from "node:test";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  status,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
} from "@grpc/grpc-js";

import { Client, type ClientOptions } from "./client.js";
import { channelOptions } from "./connecting.js";
import { AllocationError, TryAgainError, UnknownOutcomeError } from "./errors.js";
import {
  AllocateShipmentRequestSchema,
  AllocateShipmentResponseSchema,
  ShipmentItemSchema,
} from "./gen/allocation/v1/shipment_allocation_service_pb.js";
import { DEFAULT_SERVICE_CONFIG } from "./gen/service_config.js";

const SHIPMENT = { shipmentReference: "sp_00794403010635468411384028069888" };
const METHODS = ["AllocateShipment", "GetShipmentAllocation"];
const DONE = Buffer.from(
  toBinary(
    AllocateShipmentResponseSchema,
    create(AllocateShipmentResponseSchema, { allocation: SHIPMENT }),
  ),
);

/** What answers a call; "silence" does not. */
type Answer = Buffer | status | "silence";

interface Scripted {
  readonly client: Client;
  /** What is answered next; what comes after the last is answered like it. */
  readonly answers: Answer[];
  /** The requests of the calls so far. */
  readonly asked: Buffer[];
  /** The metadata of each. */
  readonly sent: Metadata[];
  /** Emits `call` for each. */
  readonly events: EventEmitter;
}

/** Runs a real server that answers as it is told to, and a client of it. */
async function scripted(context: TestContext, answers: Answer[], options: ClientOptions = {}): Promise<Scripted> {
  const server = new Server();
  const asked: Buffer[] = [];
  const sent: Metadata[] = [];
  const events = new EventEmitter();
  const answer = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
    asked.push(call.request);
    sent.push(call.metadata);
    events.emit("call");
    const told = (answers.length > 1 ? answers.shift() : answers[0]) ?? status.UNIMPLEMENTED;
    if (told === "silence") {
      return;
    }
    if (Buffer.isBuffer(told)) {
      reply(null, told);
    } else {
      reply({ code: told, details: "Not the gateway's." });
    }
  };
  const same = (bytes: Buffer): Buffer => bytes;
  server.addService(
    Object.fromEntries(
      METHODS.map((name) => [
        name,
        {
          path: `/allocation.v1.ShipmentAllocationService/${name}`,
          requestStream: false,
          responseStream: false,
          requestSerialize: same,
          requestDeserialize: same,
          responseSerialize: same,
          responseDeserialize: same,
        },
      ]),
    ),
    Object.fromEntries(METHODS.map((name) => [name, answer])),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const client = new Client(`127.0.0.1:${port}`, { plaintext: true, ...options });
  context.after(() => {
    client.close();
    server.forceShutdown();
  });
  return { client, answers, asked, sent, events };
}

function ids(asked: readonly Buffer[]): string[] {
  return asked.map((request) => fromBinary(AllocateShipmentRequestSchema, request).requestId);
}

async function failure(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => error,
  );
}

test("a request is not changed, and one that names its id keeps it", async (context) => {
  const { client, asked } = await scripted(context, [status.UNAVAILABLE, DONE]);
  const request = create(AllocateShipmentRequestSchema, SHIPMENT);
  await client.shipments.allocateShipment(request);
  assert.equal(request.requestId, "");
  await client.shipments.allocateShipment({ ...SHIPMENT, requestId: "mine" });
  const [first, second, third] = ids(asked);
  assert.match(first ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(second, first);
  assert.equal(third, "mine");
});

test("what cannot be sent at all fails at once", async (context) => {
  const { client, asked } = await scripted(context, [DONE]);
  const wrong = { shipmentReference: 7 } as unknown as { shipmentReference: string };
  assert.ok((await failure(client.shipments.allocateShipment(wrong))) instanceof Error);
  assert.ok((await failure(client.call(create(ShipmentItemSchema)))) instanceof TypeError);
  for (const timeoutMs of [0, -1, Number.NaN, Infinity]) {
    assert.ok((await failure(client.shipments.allocateShipment(SHIPMENT, { timeoutMs }))) instanceof RangeError);
  }
  const metadata = { "not a name": "" };
  assert.ok((await failure(client.shipments.allocateShipment(SHIPMENT, { metadata }))) instanceof Error);
  assert.equal(asked.length, 0);
});

test("the account is known by whatever letters its name is written in, and sent once", async (context) => {
  const metadata = { "Allocation-Account": "retail", "X-Team": "checkout" };
  const { client, sent } = await scripted(context, [status.UNAUTHENTICATED], { metadata });
  const accounts: string[] = [];
  for (const own of [{}, { metadata: { "ALLOCATION-ACCOUNT": "north" } }, { account: "west" }, { account: "" }]) {
    const error = await failure(client.shipments.allocateShipment(SHIPMENT, own));
    assert.ok(error instanceof AllocationError);
    accounts.push(error.account);
  }
  assert.deepEqual(accounts, ["retail", "north", "west", ""]);
  assert.deepEqual(
    sent.map((one) => one.get("allocation-account")),
    [["retail"], ["north"], ["west"], []],
  );
  assert.deepEqual(sent[0]?.get("x-team"), ["checkout"]);
});

test("a client whose metadata cannot be sent is refused, and so is a name that is there twice", () => {
  for (const options of [
    { account: "größe" },
    { metadata: { "x-team": "line\nline" } },
    { metadata: { "x-team": "a", "X-Team": "b" } },
  ]) {
    assert.throws(() => new Client("127.0.0.1:1", { plaintext: true, ...options }), Error);
  }
});

test("names are resolved again within a second, unless the caller says otherwise", () => {
  const name = "grpc.dns_min_time_between_resolutions_ms";
  assert.equal(channelOptions(DEFAULT_SERVICE_CONFIG, undefined, {})[name], 1000);
  assert.equal(channelOptions(DEFAULT_SERVICE_CONFIG, undefined, { [name]: 5 })[name], 5);
});

test("a signal ends a write, of which it stays unknown what became", async (context) => {
  const { client, asked, events } = await scripted(context, ["silence"]);
  const ending = new AbortController();
  const called = once(events, "call");
  const told = failure(client.shipments.allocateShipment(SHIPMENT, { signal: ending.signal }));
  await called;
  const reason = new Error("the user left");
  ending.abort(reason);
  const error = await told;
  assert.ok(error instanceof UnknownOutcomeError);
  assert.equal(error.cause, reason);
  assert.deepEqual(ids(asked), [error.requestId]);
  assert.match(error.message, new RegExp(`requestId ${error.requestId}$`));
  assert.match(JSON.stringify(error), /"code":"CANCELLED"/);
});

test("a signal ends a read, or what has not begun, with its own reason", async (context) => {
  const { client, asked, events } = await scripted(context, ["silence"]);
  const ending = new AbortController();
  const called = once(events, "call");
  const told = failure(client.shipments.getShipmentAllocation(SHIPMENT, { signal: ending.signal }));
  await called;
  const reason = new Error("the user left");
  ending.abort(reason);
  assert.equal(await told, reason);
  assert.equal(await failure(client.shipments.allocateShipment(SHIPMENT, { signal: ending.signal })), reason);
  assert.equal(asked.length, 1);
});

test("a signal ends a pause", async (context) => {
  const { client, asked } = await scripted(context, [status.UNAVAILABLE]);
  const signal = AbortSignal.timeout(500);
  assert.ok((await failure(client.shipments.allocateShipment(SHIPMENT, { signal }))) instanceof UnknownOutcomeError);
  assert.equal(new Set(ids(asked)).size, 1);
});

test("a client that is closed ends its calls and makes no more", async (context) => {
  const { client, events } = await scripted(context, ["silence"]);
  const called = once(events, "call");
  const written = failure(client.shipments.allocateShipment(SHIPMENT));
  await called;
  const read = failure(client.shipments.getShipmentAllocation(SHIPMENT));
  client.close();
  assert.ok((await written) instanceof UnknownOutcomeError);
  for (const told of [read, failure(client.shipments.getShipmentAllocation(SHIPMENT))]) {
    assert.match(String(await told), /closed/);
  }
});

test("nothing is asked of the gateway when nothing is left to watch", async (context) => {
  const { client } = await scripted(context, []);
  for await (const told of client.shipments.watch([], { timeoutMs: 1000 })) {
    assert.fail(`told ${told.reference}`);
  }
});

test("an answer that is no message is not taken for one", async (context) => {
  const { client, asked } = await scripted(context, [Buffer.from([0xff]), DONE]);
  await client.shipments.allocateShipment(SHIPMENT);
  assert.equal(new Set(ids(asked)).size, 1);
  assert.equal(asked.length, 2);
});

test("an attempt has the time-out of the service configuration, also one of less than a second", async (context) => {
  const methodConfig = DEFAULT_SERVICE_CONFIG.methodConfig.map((one) =>
    one.timeout === undefined ? one : { ...one, timeout: "0.5s" },
  );
  const serviceConfig = { ...DEFAULT_SERVICE_CONFIG, methodConfig };
  const { client, asked } = await scripted(context, ["silence", DONE], { serviceConfig });
  await client.shipments.allocateShipment(SHIPMENT);
  assert.equal(asked.length, 2);
  assert.throws(
    () => new Client("127.0.0.1:1", { serviceConfig: { ...serviceConfig, methodConfig: [] } }),
    /no time-out for/,
  );
});

test("a client that fails all the time stops repeating", async (context) => {
  const serviceConfig = { ...DEFAULT_SERVICE_CONFIG, retryThrottling: { maxTokens: 4, tokenRatio: 0.1 } };
  const { client, asked } = await scripted(context, [status.UNAVAILABLE], { serviceConfig });
  assert.ok((await failure(client.shipments.getShipmentAllocation(SHIPMENT))) instanceof TryAgainError);
  assert.equal(asked.length, 2);
  assert.ok((await failure(client.shipments.allocateShipment(SHIPMENT))) instanceof UnknownOutcomeError);
  assert.equal(asked.length, 3);
});

import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Server, ServerCredentials, status, type ServerDuplexStream } from "@grpc/grpc-js";

import { Client } from "./client.js";
import { InvalidRequestError, NotFoundError, UnfinishedJobError, UnknownOutcomeError } from "./errors.js";
import type { ServiceCapability } from "./gen/allocation/v1/core_pb.js";
import {
  AllocateShipmentStreamRequestSchema,
  AllocateShipmentStreamResponseSchema,
  ShipmentAllocationService,
  type ShipmentOutcomeSchema,
} from "./gen/allocation/v1/shipment_allocation_service_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";

const LONG_MS = 60_000;
// Anything is taken for a text, but not for a message.
const WRONG = { capabilities: [7 as unknown as ServiceCapability] };
const JOB = "6f1d3a52-7d4f-4d58-9f0c-2b7a2f6f3c10";

/** How a stream is answered once so many items have come: all, if it does not say. */
interface Script {
  readonly after?: number;
  readonly told: readonly MessageInitShape<typeof AllocateShipmentStreamResponseSchema>[];
  readonly end?: status;
}

const BEGUN = { content: { case: "job", value: { jobId: JOB } } } as const;
const SUMMARY = { content: { case: "summary", value: { jobId: JOB } } } as const;

function results(...all: MessageInitShape<typeof ShipmentOutcomeSchema>[]): Script["told"][number] {
  return { content: { case: "results", value: { results: all } } };
}

function told(code: status, reason: string) {
  const info = create(ErrorInfoSchema, { reason, domain: "allocation.v1" });
  return create(StatusSchema, { code, message: "As the test has it.", details: [anyPack(ErrorInfoSchema, info)] });
}

/** Runs a real server whose streams go by these scripts, and a client of it. It gives the references that each stream was sent. */
async function scripted(context: TestContext, scripts: Script[]): Promise<{ client: Client; sent: string[][] }> {
  const sent: string[][] = [];
  const answer = (stream: ServerDuplexStream<Buffer, Buffer>): void => {
    const references: string[] = [];
    sent.push(references);
    const { after = Infinity, told: messages, end = status.OK } = scripts.shift() ?? { told: [], end: status.UNIMPLEMENTED };
    let isAnswered = false;
    const answerNow = (): void => {
      if (isAnswered) {
        return;
      }
      isAnswered = true;
      for (const message of messages) {
        const schema = AllocateShipmentStreamResponseSchema;
        stream.write(Buffer.from(toBinary(schema, create(schema, message))));
      }
      if (end === status.OK) {
        stream.end();
      } else {
        stream.emit("error", { code: end, details: "Not the gateway's." });
      }
    };
    stream.on("data", (request: Buffer) => {
      const { items } = fromBinary(AllocateShipmentStreamRequestSchema, request);
      references.push(...items.map((item) => item.shipmentReference));
      if (references.length >= after) {
        answerNow();
      }
    });
    stream.on("end", answerNow);
    stream.on("error", () => undefined);
  };
  const same = (bytes: Buffer): Buffer => bytes;
  const server = new Server();
  server.addService(
    {
      AllocateShipmentStream: {
        path: `/${ShipmentAllocationService.typeName}/AllocateShipmentStream`,
        requestStream: true,
        responseStream: true,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
    },
    { AllocateShipmentStream: answer },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const client = new Client(`127.0.0.1:${port}`, { plaintext: true, account: "north" });
  context.after(() => {
    client.close();
    server.forceShutdown();
  });
  return { client, sent };
}

function items(...references: string[]): { shipmentReference: string }[] {
  return references.map((shipmentReference) => ({ shipmentReference }));
}

test("each item is sent and told once, however often it comes or is told, and counts", async (context) => {
  const b = { shipmentReference: "b", requestId: "of b", outcome: { case: "queued", value: true } } as const;
  const c = {
    shipmentReference: "c",
    outcome: { case: "unknown", value: told(status.UNKNOWN, "OUTCOME_UNKNOWN") },
  } as const;
  const gross = { currencyCode: "GBP", units: 2n };
  const a = {
    shipmentReference: "a",
    outcome: { case: "allocation", value: { price: { gross } } },
  } as const;
  const d = {
    shipmentReference: "d",
    outcome: { case: "refusal", value: told(status.NOT_FOUND, "SHIPMENT_NOT_FOUND") },
  } as const;
  const { client, sent } = await scripted(context, [
    { told: [BEGUN, results(b)], end: status.UNAVAILABLE },
    { told: [BEGUN, results(b, c)], end: status.UNAVAILABLE },
    { told: [BEGUN, results(a, a), results(d), SUMMARY] },
  ]);
  const lost: string[] = [];
  const job = client.shipments.allocateAll(items("a", "b", "c", "a", "d"), {
    jobId: JOB,
    selector: { scope: { case: "serviceGroup", value: "group" } },
    timeoutMs: LONG_MS,
    onLost: (error) => lost.push(error.name),
  });
  const found = [];
  for await (const outcome of job) {
    found.push(outcome);
  }
  assert.deepEqual(sent, [
    ["a", "b", "c", "d"],
    ["a", "c", "d"],
    ["a", "d"],
  ]);
  assert.deepEqual(
    found.map(({ reference, kind, gross }) => [reference, kind, gross && String(gross)]),
    [
      ["b", "queued", undefined],
      ["c", "unknown", undefined],
      ["a", "allocated", "2.00 GBP"],
      ["d", "refused", undefined],
    ],
  );
  assert.equal(job.jobId, JOB);
  const counts = { received: 5, allocated: 1, queued: 1, refused: 1, unknown: 1, repeated: 1, streams: 3 };
  assert.deepEqual(job.summary, counts);
  assert.deepEqual(lost, ["TryAgainError", "TryAgainError"]);
  const [, unknown, , refused] = found.map(({ error }) => error);
  assert.ok(unknown instanceof UnknownOutcomeError && refused instanceof NotFoundError);
  assert.equal(found[0]?.requestId, "of b");
  assert.deepEqual([refused.reason, refused.account], ["SHIPMENT_NOT_FOUND", "north"]);
  const { $typeName, shipments, serviceGroup } = refused.request as unknown as Record<string, unknown>;
  assert.equal($typeName, "allocation.v1.AllocateShipmentsWithServiceGroupRequest");
  assert.deepEqual([shipments, serviceGroup], [["d"], "group"]);
});

test("a job that is refused names all that were taken, and takes no more", async (context) => {
  const { client } = await scripted(context, [{ after: 1, told: [BEGUN], end: status.PERMISSION_DENIED }]);
  let taken = 0;
  let isLeft = false;
  let give: (() => void) | undefined;
  // Its third item comes when its caller has been told that the job is over, unless its wait was ended.
  const waiting = {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        if (taken === 2) {
          await new Promise<void>((resolve) => (give = resolve));
        }
        if (isLeft) {
          return { done: true, value: undefined } as const;
        }
        taken += 1;
        return { done: false, value: { shipmentReference: `${taken}` } } as const;
      },
      return: async () => {
        isLeft = true;
        give?.();
        return { done: true, value: undefined } as const;
      },
    }),
  };
  const job = client.shipments.allocateAll(waiting, { timeoutMs: LONG_MS });
  const error = await job.next().then(
    () => assert.fail("it did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof UnfinishedJobError);
  assert.equal(error.jobId, job.jobId);
  assert.ok(isLeft, "its iterator was not told");
  assert.deepEqual([...error.unanswered], Array.from({ length: taken }, (_, number) => `${number + 1}`));
});

test("an item that cannot be sent ends its job, which is told with its id", async (context) => {
  const { client } = await scripted(context, [{ told: [BEGUN], end: status.UNAVAILABLE }]);
  const wrong = [...items("a"), { shipmentReference: "b", selector: WRONG }];
  const job = client.shipments.allocateAll(wrong, { timeoutMs: LONG_MS });
  const error = await job.next().catch((thrown: unknown) => thrown);
  assert.ok(error instanceof UnfinishedJobError && error.cause instanceof Error);
  assert.equal(error.jobId, job.jobId);
  assert.equal(error.code, status.INVALID_ARGUMENT);
  assert.ok(!(error instanceof InvalidRequestError));
});

test("a job that can never be sent fails as what it is", async (context) => {
  const { client, sent } = await scripted(context, []);
  const error = await client.shipments
    .allocateAll(items("a"), { selector: WRONG, timeoutMs: LONG_MS })
    .next()
    .catch((thrown: unknown) => thrown);
  assert.ok(error instanceof Error && !(error instanceof UnfinishedJobError));
  assert.deepEqual(sent, []);
});

/** The driver of the TypeScript client: one call for each line of standard input, one line of standard output for each. */
import { createInterface } from "node:readline";

import { createRegistry, fromJson, toJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import {
  AllocationError,
  Client,
  money,
  status,
  UnfinishedJobError,
  type Allocated,
  type CallOptions,
  type JobOptions,
  type LastingOptions,
  type Outcome,
  type Standing,
} from "allocation-gateway-client";
import * as contract from "allocation-gateway-client/allocation/v1";
import type { Money } from "allocation-gateway-client/google/type";

interface Asked {
  readonly address: string;
  readonly rpc: string;
  readonly request: JsonValue;
  readonly timeout?: number;
  readonly metadata?: Record<string, string>;
  readonly account?: string;
  readonly needs?: string;
  readonly money: string[];
  /** After how many items of a job its caller waits for a line, or fails. */
  readonly hold?: number;
  readonly throw?: number;
  /** That of the client. */
  readonly client_metadata?: Record<string, string>;
  /** What ends the call from outside: when a line comes, or before it. */
  readonly end?: "cancel" | "close" | "closed";
}

/** What a case has the items of a job throw. */
class ItemsFailed extends Error {}

/** How a case has its caller give the items of a job. */
interface Giving {
  readonly asked: Asked;
  taken: number;
}

/** What was told of items, by their references. */
type Outcomes = Record<string, Record<string, string>[]>;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const KNOWN = ["streams", "account", "cancel"];
const CANCELLED = new Error("It is cancelled");
const LASTING_MS = 60_000;

const TYPES = createRegistry(
  contract.file_allocation_v1_shipment_allocation_service,
  contract.file_allocation_v1_consignment_allocation_service,
  contract.file_allocation_v1_service_group_service,
  contract.file_allocation_v1_core,
  contract.file_allocation_v1_error_reason,
);

function schemaOf(typeName: string) {
  const found = TYPES.getMessage(typeName);
  if (found === undefined) {
    throw new Error(`${typeName} is not in the contract`);
  }
  return found;
}

function fields(message: Message): JsonValue {
  return toJson(schemaOf(message.$typeName), message, { useProtoFieldName: true, registry: TYPES });
}

function amounts(response: Message, paths: readonly string[]): Record<string, string> {
  const at = (path: string): unknown =>
    path.split(".").reduce<unknown>((message, name) => (message as Record<string, unknown>)[name], response);
  return Object.fromEntries(paths.map((path) => [path, String(money(at(path) as Money))]));
}

function told(error: AllocationError): Record<string, unknown> {
  const { resource } = error;
  return {
    kind: error.name.replace(/Error$/, ""),
    code: status[error.code],
    reason: error.reason,
    message: error.details,
    effect: error.effect,
    request_id: error.requestId,
    account: error.account,
    ...(error instanceof UnfinishedJobError ? { job_id: error.jobId, unanswered: error.unanswered } : {}),
    metadata: error.metadata,
    retry_after: error.retryAfterMs === undefined ? undefined : error.retryAfterMs / 1000,
    field_violations: error.fieldViolations.map(({ field, description }) => ({ field, description })),
    excluded_services: error.excludedServices.map(fields),
    omitted_services: error.omittedServices,
    resource: resource && { kind: resource.resourceType, name: resource.resourceName },
    allocation: error.allocation && fields(error.allocation),
    consignment_allocation: error.consignmentAllocation && fields(error.consignmentAllocation),
    failed_allocation: error.failedAllocation && fields(error.failedAllocation),
    progress: error.progress && fields(error.progress),
  };
}

const OUTCOMES = { allocated: "allocation", queued: "queued", refused: "refusal", unknown: "unknown" };

function described(outcome: string, one: Outcome<Allocated> | Standing<Allocated>): Record<string, string> {
  return {
    outcome,
    ...(one.gross && { gross: String(one.gross) }),
    ...(one.error && { reason: one.error.reason }),
  };
}

function jobOptions(job: contract.AllocationJob | undefined, lasting: LastingOptions): JobOptions {
  return {
    ...lasting,
    ...(job?.jobId ? { jobId: job.jobId } : {}),
    ...(job?.selector ? { selector: job.selector } : {}),
    ...(job?.waitFor ? { waitFor: job.waitFor } : {}),
  };
}

function* counted<Item>(items: readonly Item[], giving: Giving): Generator<Item, void> {
  for (const item of items) {
    if (giving.taken === giving.asked.throw) {
      throw new ItemsFailed();
    }
    giving.taken += 1;
    yield item;
  }
}

/** Gives items one by one, and waits where the case has it. */
async function* held<Item>(items: readonly Item[], giving: Giving): AsyncGenerator<Item, void> {
  for (const item of counted(items, giving)) {
    if (giving.taken - 1 === giving.asked.hold) {
      await lines.next();
    }
    yield item;
  }
}

function given<Item>(items: readonly Item[], giving: Giving): Iterable<Item> | AsyncIterable<Item> {
  return giving.asked.hold === undefined ? counted(items, giving) : held(items, giving);
}

/** Carries out a call that lasts, and adds what was told. Returns false if it is no such call. */
async function lasts(client: Client, options: CallOptions, giving: Giving, found: Outcomes): Promise<boolean> {
  const { shipments, consignments } = client;
  const { asked } = giving;
  const lasting = { timeoutMs: LASTING_MS, ...options };
  const add = (outcome: string, one: Outcome<Allocated> | Standing<Allocated>): unknown =>
    (found[one.reference] ??= []).push(described(outcome, one));
  const job = async (told: AsyncIterable<Outcome<Allocated>>): Promise<true> => {
    for await (const one of told) {
      add(OUTCOMES[one.kind], one);
    }
    return true;
  };
  const watch = async (told: AsyncIterable<Standing<Allocated>>): Promise<true> => {
    for await (const one of told) {
      if (one.isFinal) {
        add(one.error ? "error" : "allocation", one);
      }
    }
    return true;
  };
  switch (asked.rpc.split("/")[1]) {
    case "AllocateShipmentStream": {
      const { job: about, items } = fromJson(contract.AllocateShipmentStreamRequestSchema, asked.request);
      return job(shipments.allocateAll(given(items, giving), jobOptions(about, lasting)));
    }
    case "AllocateConsignmentStream": {
      const { job: about, items } = fromJson(contract.AllocateConsignmentStreamRequestSchema, asked.request);
      return job(consignments.allocateAll(given(items, giving), jobOptions(about, lasting)));
    }
    case "WatchShipmentAllocations": {
      const { shipmentReferences } = fromJson(contract.WatchShipmentAllocationsRequestSchema, asked.request);
      return watch(shipments.watch(shipmentReferences, lasting));
    }
    case "WatchConsignmentAllocations": {
      const { consignmentReferences } = fromJson(contract.WatchConsignmentAllocationsRequestSchema, asked.request);
      return watch(consignments.watch(consignmentReferences, lasting));
    }
    default:
      return false;
  }
}

/** Has a call ended from outside as a case says, and waits until that was done. */
async function ending(client: Client, how: Asked["end"], cancelled: AbortController): Promise<void> {
  if (how === "cancel" || how === "close") {
    await lines.next();
  }
  if (how === "cancel") {
    cancelled.abort(CANCELLED);
  } else if (how !== undefined) {
    client.close();
  }
}

/** Returns what an error is that is not the gateway's. */
function localKind(error: unknown): string {
  if (error === CANCELLED) {
    return "Cancelled";
  }
  return error instanceof Error && error.message === "The client is closed" ? "Closed" : "Local";
}

async function answer(asked: Asked): Promise<Record<string, unknown>> {
  if (asked.needs !== undefined && !KNOWN.includes(asked.needs)) {
    return { lacks: asked.needs };
  }
  const cancelled = new AbortController();
  const options: CallOptions = {
    ...(asked.timeout === undefined ? {} : { timeoutMs: asked.timeout * 1000 }),
    ...(asked.metadata === undefined ? {} : { metadata: asked.metadata }),
    ...(asked.account === undefined ? {} : { account: asked.account }),
    ...(asked.end === "cancel" ? { signal: cancelled.signal } : {}),
  };
  const client = new Client(asked.address, { plaintext: true, metadata: asked.client_metadata ?? {} });
  const ended = ending(client, asked.end, cancelled);
  const giving = { asked, taken: 0 };
  const outcomes: Outcomes = {};
  try {
    if (await lasts(client, options, giving, outcomes)) {
      return { outcomes };
    }
    const request = fromJson(schemaOf(`allocation.v1.${asked.rpc.split("/")[1]}Request`), asked.request);
    const response = await client.call(request, options);
    return { result: fields(response), money: amounts(response, asked.money) };
  } catch (error) {
    if (error instanceof ItemsFailed) {
      return { outcomes, error: { kind: "Items" } };
    }
    if (error instanceof AllocationError) {
      const cause = error.cause instanceof ItemsFailed ? { cause: "Items" } : {};
      return { error: { ...told(error), ...cause }, taken: giving.taken };
    }
    return { error: { kind: localKind(error), message: String(error) } };
  } finally {
    await ended;
    client.close();
  }
}

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line.value) as Asked))}\n`);
}

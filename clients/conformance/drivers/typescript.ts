/** The driver of the TypeScript client: one call for each line of standard input, one line of standard output for each. */
import { createInterface } from "node:readline";

import { createRegistry, fromJson, toJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import {
  AllocationError,
  Client,
  money,
  status,
  toldOf,
  UnfinishedJobError,
  type CallOptions,
  type JobOptions,
  type LastingOptions,
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
const KNOWN = ["streams", "account"];
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

/** Whatever tells how something stands. */
type Told =
  | contract.ShipmentOutcome["outcome"]
  | contract.ConsignmentOutcome["outcome"]
  | contract.ShipmentStanding["standing"]
  | contract.ConsignmentStanding["standing"];

function described(one: Told): Record<string, string> {
  const found: Record<string, string> = { outcome: `${one.case}` };
  if (one.case === "allocation" && one.value.price?.gross) {
    found["gross"] = String(money(one.value.price.gross));
  }
  if (one.case === "refusal" || one.case === "unknown" || one.case === "error") {
    found["reason"] = toldOf(one.value).reason;
  }
  return found;
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
  const add = (reference: string, one: Told): unknown => (found[reference] ??= []).push(described(one));
  switch (asked.rpc.split("/")[1]) {
    case "AllocateShipmentStream": {
      const { job, items } = fromJson(contract.AllocateShipmentStreamRequestSchema, asked.request);
      for await (const one of shipments.allocateAll(given(items, giving), jobOptions(job, lasting))) {
        add(one.shipmentReference, one.outcome);
      }
      return true;
    }
    case "AllocateConsignmentStream": {
      const { job, items } = fromJson(contract.AllocateConsignmentStreamRequestSchema, asked.request);
      for await (const one of consignments.allocateAll(given(items, giving), jobOptions(job, lasting))) {
        add(one.consignmentReference, one.outcome);
      }
      return true;
    }
    case "WatchShipmentAllocations": {
      const { shipmentReferences } = fromJson(contract.WatchShipmentAllocationsRequestSchema, asked.request);
      for await (const one of shipments.watch(shipmentReferences, lasting)) {
        if (one.final) {
          add(one.shipmentReference, one.standing);
        }
      }
      return true;
    }
    case "WatchConsignmentAllocations": {
      const { consignmentReferences } = fromJson(contract.WatchConsignmentAllocationsRequestSchema, asked.request);
      for await (const one of consignments.watch(consignmentReferences, lasting)) {
        if (one.final) {
          add(one.consignmentReference, one.standing);
        }
      }
      return true;
    }
    default:
      return false;
  }
}

async function answer(asked: Asked): Promise<Record<string, unknown>> {
  if (asked.needs !== undefined && !KNOWN.includes(asked.needs)) {
    return { lacks: asked.needs };
  }
  const options: CallOptions = {
    ...(asked.timeout === undefined ? {} : { timeoutMs: asked.timeout * 1000 }),
    ...(asked.metadata === undefined ? {} : { metadata: asked.metadata }),
    ...(asked.account === undefined ? {} : { account: asked.account }),
  };
  const client = new Client(asked.address, { plaintext: true });
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
    throw error;
  } finally {
    client.close();
  }
}

for (let line = await lines.next(); !line.done; line = await lines.next()) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line.value) as Asked))}\n`);
}

/** The driver of the TypeScript client: one call for each line of standard input, one line of standard output for each. */
import { createInterface } from "node:readline";

import { createRegistry, fromJson, toJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { AllocationError, Client, money, status, type CallOptions } from "allocation-gateway-client";
import * as contract from "allocation-gateway-client/allocation/v1";
import type { Money } from "allocation-gateway-client/google/type";

interface Asked {
  readonly address: string;
  readonly rpc: string;
  readonly request: JsonValue;
  readonly timeout?: number;
  readonly metadata?: Record<string, string>;
  readonly money: string[];
}

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

async function answer(asked: Asked): Promise<Record<string, unknown>> {
  const request = fromJson(schemaOf(`allocation.v1.${asked.rpc.split("/")[1]}Request`), asked.request);
  const options: CallOptions = {
    ...(asked.timeout === undefined ? {} : { timeoutMs: asked.timeout * 1000 }),
    ...(asked.metadata === undefined ? {} : { metadata: asked.metadata }),
  };
  const client = new Client(asked.address, { plaintext: true });
  try {
    const response = await client.call(request, options);
    return { result: fields(response), money: amounts(response, asked.money) };
  } catch (error) {
    if (error instanceof AllocationError) {
      return { error: told(error) };
    }
    throw error;
  } finally {
    client.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Asked))}\n`);
}

import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { anyIs, anyUnpack, type Any, type Duration } from "@bufbuild/protobuf/wkt";
import type { Metadata, MetadataValue, ServiceError, status } from "@grpc/grpc-js";

import {
  ConsignmentAllocationSchema,
  FailedAllocationSchema,
  type ConsignmentAllocation,
  type FailedAllocation,
} from "./gen/allocation/v1/consignment_allocation_service_pb.js";
import { AllocationSchema, type Allocation, type ExcludedService } from "./gen/allocation/v1/core_pb.js";
import { ExcludedServicesSchema, WriteProgressSchema, type WriteProgress } from "./gen/allocation/v1/error_reason_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  type BadRequest_FieldViolation,
  type ResourceInfo,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema, type Status } from "./gen/google/rpc/status_pb.js";

const DOMAIN = "allocation.v1";
const DETAILS = "grpc-status-details-bin";
const PUSHBACK = "grpc-retry-pushback-ms";
const MS_OF_SECOND = 1000;
const NANOS_OF_MS = 1_000_000;

/** What the status of a failed call tells. */
export interface Told {
  /** The gRPC status code. */
  readonly code: status;
  /** What happened, for people. It may change at any time. */
  readonly details: string;
  /**
   * The name of an ErrorReason, such as `SHIPMENT_NOT_FOUND`; a newer gateway may have others. Empty if the status is not
   * the gateway's: a lost connection, a time-out, a proxy.
   */
  readonly reason: string;
  /**
   * `none` if nothing was done under this `requestId`, `made` if it was done although the call failed, `unknown`, or empty
   * if nothing is said of it.
   */
  readonly effect: string;
  /** What else the gateway said, such as `upstream_status` and `upstream_correlation_id`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** After how many milliseconds to come back; undefined if nothing is said of it. */
  readonly retryAfterMs: number | undefined;
  /** Which fields of the request are wrong. */
  readonly fieldViolations: readonly BadRequest_FieldViolation[];
  /** What was not found; undefined if that is not told. */
  readonly resource: ResourceInfo | undefined;
  /** Why carrier services were excluded, as many of them as fit. */
  readonly excludedServices: readonly ExcludedService[];
  /** How many more were excluded. */
  readonly omittedServices: number;
  /**
   * The allocation of the shipment that is there; undefined if none is told. What of it could not be read is named by its
   * `unreadable`.
   */
  readonly allocation: Allocation | undefined;
  /** The same of a consignment. */
  readonly consignmentAllocation: ConsignmentAllocation | undefined;
  /** Why a consignment could not be allocated; undefined if that is not told. */
  readonly failedAllocation: FailedAllocation | undefined;
  /** What is known of each reference of a bulk call; undefined if nothing is. */
  readonly progress: WriteProgress | undefined;
}

/** How an attempt failed. */
export interface Failure {
  readonly told: Told;
  /** Whether the gateway itself has said so, rather than a proxy, a lost connection or a time-out. */
  readonly isOfGateway: boolean;
  /** When the peer wants the call repeated, in milliseconds: negative for never, undefined if it does not say. */
  readonly pushbackMs: number | undefined;
}

/** Returns what a status tells, from its code, its text and the trailing metadata of its call. */
export function failureOf(code: status, text: string, trailers: Metadata): Failure {
  const told = toldBy(code, text, packedDetails(trailers.get(DETAILS)[0]));
  return { ...told, pushbackMs: pushbackMs(trailers.get(PUSHBACK)[0]) };
}

/** Returns how an attempt failed that threw this; undefined if it is no error of gRPC's. */
export function failureOfThrown(error: unknown): Failure | undefined {
  if (error instanceof Error && "code" in error && "details" in error && "metadata" in error) {
    const { code, details, metadata } = error as ServiceError;
    return failureOf(code, details, metadata);
  }
  return undefined;
}

/** Returns what a status tells that is part of an answer, such as why an item of a job was refused. */
export function toldOf(outcome: Status): Told {
  return toldBy(outcome.code, outcome.message, outcome.details).told;
}

/** Returns the same as how an attempt failed. */
export function failureOfStatus({ code, message, details }: Status): Failure {
  return { ...toldBy(code, message, details), pushbackMs: undefined };
}

function toldBy(code: status, text: string, packed: readonly Any[]): { told: Told; isOfGateway: boolean } {
  const info = detail(packed, ErrorInfoSchema);
  const isOfGateway = info?.domain === DOMAIN;
  const ours = isOfGateway ? packed : [];
  const retry = detail(ours, RetryInfoSchema)?.retryDelay;
  const excluded = detail(ours, ExcludedServicesSchema);
  return {
    isOfGateway,
    told: {
      code,
      details: text,
      reason: isOfGateway ? info.reason : "",
      effect: (isOfGateway && info.metadata["effect"]) || "",
      metadata: isOfGateway ? info.metadata : {},
      retryAfterMs: retry && durationMs(retry),
      fieldViolations: detail(ours, BadRequestSchema)?.fieldViolations ?? [],
      resource: detail(ours, ResourceInfoSchema),
      excludedServices: excluded?.excludedServices ?? [],
      omittedServices: excluded?.omittedCount ?? 0,
      allocation: detail(ours, AllocationSchema),
      consignmentAllocation: detail(ours, ConsignmentAllocationSchema),
      failedAllocation: detail(ours, FailedAllocationSchema),
      progress: detail(ours, WriteProgressSchema),
    },
  };
}

function packedDetails(serialized: MetadataValue | undefined): readonly Any[] {
  if (!(serialized instanceof Uint8Array)) {
    return [];
  }
  return readable(() => fromBinary(StatusSchema, serialized).details) ?? [];
}

/** Returns the first detail of a type; undefined if there is none, or it cannot be read. */
function detail<Desc extends DescMessage>(packed: readonly Any[], schema: Desc): MessageShape<Desc> | undefined {
  const first = packed.find((one) => anyIs(one, schema));
  return first && readable(() => anyUnpack(first, schema));
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Never shorter than was told. */
function durationMs({ seconds, nanos }: Duration): number {
  return Number(seconds) * MS_OF_SECOND + Math.ceil(nanos / NANOS_OF_MS);
}

/** What cannot be read means never, as gRPC has it. */
function pushbackMs(text: MetadataValue | undefined): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  return /^-?\d+$/.test(String(text)) ? Number(text) : -1;
}

import type { Message } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import type { Told } from "./failure.js";

/** What an error is made with besides what was told. */
export interface AllocationErrorOptions extends ErrorOptions {
  /** The account that the call was for; empty, or left out, if it named none. */
  readonly account?: string;
}

/** A call that failed. It is of one of the classes below: one for each way to go on, with all that the gateway told. */
export class AllocationError extends Error implements Told {
  readonly code: Told["code"];
  readonly details: Told["details"];
  readonly reason: Told["reason"];
  readonly effect: Told["effect"];
  readonly metadata: Told["metadata"];
  readonly retryAfterMs: Told["retryAfterMs"];
  readonly fieldViolations: Told["fieldViolations"];
  readonly resource: Told["resource"];
  readonly excludedServices: Told["excludedServices"];
  readonly omittedServices: Told["omittedServices"];
  readonly allocation: Told["allocation"];
  readonly consignmentAllocation: Told["consignmentAllocation"];
  readonly failedAllocation: Told["failedAllocation"];
  readonly progress: Told["progress"];
  /** What was asked for, with its `requestId`: `client.call(error.request, { account: error.account })` repeats it. */
  readonly request: Message;
  /** The id of a write; empty for a read. */
  readonly requestId: string;
  /** The account that the call was for, which a repetition has to be for too; empty if it named none. */
  readonly account: string;

  constructor(told: Told, request: Message, options?: AllocationErrorOptions) {
    super(text(told), options);
    this.name = new.target.name;
    this.code = told.code;
    this.details = told.details;
    this.reason = told.reason;
    this.effect = told.effect;
    this.metadata = told.metadata;
    this.retryAfterMs = told.retryAfterMs;
    this.fieldViolations = told.fieldViolations;
    this.resource = told.resource;
    this.excludedServices = told.excludedServices;
    this.omittedServices = told.omittedServices;
    this.allocation = told.allocation;
    this.consignmentAllocation = told.consignmentAllocation;
    this.failedAllocation = told.failedAllocation;
    this.progress = told.progress;
    this.request = request;
    this.requestId = requestIdOf(request);
    this.account = options?.account ?? "";
  }

  /** What is worth a log line. Messages of protobuf are left out: they have integers that JSON has not. */
  toJSON(): object {
    const { name, message, reason, effect, requestId, account, retryAfterMs, metadata } = this;
    return { name, message, code: status[this.code], reason, effect, requestId, account, retryAfterMs, metadata };
  }
}

/** The request is not valid: mend what `fieldViolations` names. REQUEST_ID_REUSED: it is another request's id. */
export class InvalidRequestError extends AllocationError {}

/** What the request names is not known: `resource`, or any of its references if that is not told. */
export class NotFoundError extends AllocationError {}

/** The state of things forbids it. Nothing was done, and a repetition is refused again. */
export class RefusedError extends AllocationError {}

/** The shipment or consignment is in a state that forbids it. What is there may be what was wanted. */
export class InvalidStateError extends RefusedError {}

/** No carrier service could take it, or quote for it. */
export class NoServiceAvailableError extends RefusedError {}

/**
 * It was not done, and may be in a while: a limit was reached, something is unreachable, another write is going on.
 *
 * The client has repeated the call until its time, or its budget, was used up.
 */
export class TryAgainError extends AllocationError {}

/**
 * It may have been done or not. Keep `requestId`, and repeat the call with it: that is how to ask.
 *
 * `client.call(error.request, { account: error.account })` does. Where `allocation` or `consignmentAllocation` is set and `retryAfterMs` is not, it can
 * never be known whether this request made what is there: look at it.
 */
export class UnknownOutcomeError extends AllocationError {
  constructor(told: Told, request: Message, options?: AllocationErrorOptions) {
    super(told, request, options);
    const account = this.account && ` and account ${this.account}`;
    this.message += ` The outcome is unknown: repeat the call with requestId ${this.requestId}${account}`;
  }
}

/**
 * A job of which the time was over, or the connection was lost for good, before every item had its outcome. Begin it again with
 * its `jobId`, for the same account: nothing is done twice, and what is known already is told again.
 */
export class UnfinishedJobError extends AllocationError {
  /** The id of the job. */
  readonly jobId: string;
  /**
   * The references of all items that were taken from the caller's iterable and have no outcome, whether they were sent or not.
   * What was not taken yet is the caller's own. To begin the job again with all of its items does none of them twice.
   */
  readonly unanswered: readonly string[];

  constructor(told: Told, request: Message, jobId: string, unanswered: readonly string[], options?: AllocationErrorOptions) {
    super(told, request, options);
    this.jobId = jobId;
    this.unanswered = unanswered;
    this.message += ` ${unanswered.length} items have no outcome: begin again with jobId ${jobId}`;
  }
}

/** The gateway, or a proxy in front of it, does not let this caller do it. */
export class NotPermittedError extends AllocationError {}

/** The operation is switched off at this gateway, or this gateway is older than the operation. */
export class NotSupportedError extends AllocationError {}

/** The gateway, what it stands in front of, or how it is set up, has failed. `effect` says what was done. */
export class GatewayFailureError extends AllocationError {}

const BY_REASON: ReadonlyMap<string, typeof AllocationError> = new Map([
  ["INVALID_STATE", InvalidStateError],
  ["ALLOCATION_FAILED", NoServiceAvailableError],
  ["NO_QUOTES_AVAILABLE", NoServiceAvailableError],
]);

const BY_CODE: ReadonlyMap<status, typeof AllocationError> = new Map([
  [status.INVALID_ARGUMENT, InvalidRequestError],
  [status.NOT_FOUND, NotFoundError],
  [status.FAILED_PRECONDITION, RefusedError],
  [status.RESOURCE_EXHAUSTED, TryAgainError],
  [status.UNAVAILABLE, TryAgainError],
  [status.ABORTED, TryAgainError],
  [status.DEADLINE_EXCEEDED, TryAgainError],
  [status.PERMISSION_DENIED, NotPermittedError],
  [status.UNAUTHENTICATED, NotPermittedError],
  [status.UNIMPLEMENTED, NotSupportedError],
]);

/** Returns the error for a call of which it is not in doubt what became of it. */
export function errorOf(told: Told, request: Message, options?: AllocationErrorOptions): AllocationError {
  const kind = BY_REASON.get(told.reason) ?? BY_CODE.get(told.code) ?? GatewayFailureError;
  return new kind(told, request, options);
}

/** Returns the `request_id` of a request; empty if it has none. */
export function requestIdOf(request: Message): string {
  return "requestId" in request ? String(request.requestId) : "";
}

function text({ reason, code, details, fieldViolations }: Told): string {
  const fields = fieldViolations.map((one) => `${one.field}: ${one.description}`).join("; ");
  return [reason || status[code], details, fields && `(${fields})`].filter(Boolean).join(" ");
}

export type { CallOptions } from "./caller.js";
export { Client, DEFAULT_TIMEOUT_MS, type Calls, type ClientOptions } from "./client.js";
export type { Tls } from "./connecting.js";
export {
  AllocationError,
  type AllocationErrorOptions,
  GatewayFailureError,
  InvalidRequestError,
  InvalidStateError,
  NoServiceAvailableError,
  NotFoundError,
  NotPermittedError,
  NotSupportedError,
  RefusedError,
  TryAgainError,
  UnfinishedJobError,
  UnknownOutcomeError,
} from "./errors.js";
export { toldOf, type Told } from "./failure.js";
export type { Job, JobOptions } from "./jobs.js";
export type { LastingOptions } from "./lasting.js";
export { Outcome, Standing, type Allocated, type JobSummary, type OutcomeKind } from "./outcomes.js";
export { DEFAULT_SERVICE_CONFIG } from "./gen/service_config.js";
export type { MethodConfig, RetryPolicy, ServiceConfig } from "./service_config.js";
export type { ConsignmentStreams, ShipmentStreams, Streams } from "./streams.js";
export { decimal, Money, money, time } from "./values.js";
export { status } from "@grpc/grpc-js";

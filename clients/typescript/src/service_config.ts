/** When gRPC's service configuration has a call repeated. */
export interface RetryPolicy {
  readonly maxAttempts: number;
  /** Such as `0.1s`. */
  readonly initialBackoff: string;
  readonly maxBackoff: string;
  readonly backoffMultiplier: number;
  readonly retryableStatusCodes: readonly string[];
}

/** What it says of some rpcs. */
export interface MethodConfig {
  readonly name: readonly { readonly service: string; readonly method: string }[];
  /** How long an attempt may take, such as `20s`; none for calls that last. */
  readonly timeout?: string;
  readonly retryPolicy?: RetryPolicy;
}

/** gRPC's service configuration, as far as this client keeps to it. */
export interface ServiceConfig {
  readonly loadBalancingConfig: readonly object[];
  readonly retryThrottling: { readonly maxTokens: number; readonly tokenRatio: number };
  readonly methodConfig: readonly MethodConfig[];
}

/** Returns what a service configuration says of each rpc, by the rpc's path. */
export function methodConfigs(config: ServiceConfig): ReadonlyMap<string, MethodConfig> {
  const found = new Map<string, MethodConfig>();
  for (const one of config.methodConfig) {
    for (const { service, method } of one.name) {
      found.set(`/${service}/${method}`, one);
    }
  }
  return found;
}

/** Reads a duration as protobuf's JSON has it, such as `0.1s`. */
export function milliseconds(text: string): number {
  const seconds = /^(\d+(?:\.\d{1,9})?)s$/.exec(text)?.[1];
  if (seconds === undefined) {
    throw new RangeError(`The service configuration has ${JSON.stringify(text)} where a duration such as "1.5s" belongs`);
  }
  return Number(seconds) * 1000;
}

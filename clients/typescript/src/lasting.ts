import { setTimeout as pause } from "node:timers/promises";

import { Metadata, status } from "@grpc/grpc-js";

import type { CallOptions } from "./caller.js";
import { failureOf, failureOfThrown, type Failure } from "./failure.js";
import type { Attempts } from "./policy.js";

/** What is said of a call that lasts. Only its caller knows how long that may be. */
export interface LastingOptions extends CallOptions {
  readonly timeoutMs: number;
}

/** A stream that ended with OK, but before its last message. */
export class EndedEarly extends Error {}

/**
 * Begins a stream again whenever it is lost, and yields what all of them yield, until one comes to its end.
 *
 * @param signal Ends it.
 * @param run Runs the stream once.
 * @param over Makes the error of what is over, from how the last stream ended and why.
 */
export async function* resumed<Told>(
  attempts: Attempts,
  signal: AbortSignal,
  run: () => AsyncGenerator<Told, void>,
  over: (failure: Failure, cause: unknown) => unknown,
): AsyncGenerator<Told, void> {
  let failure: Failure | undefined;
  for (;;) {
    try {
      for await (const told of run()) {
        attempts.succeed();
        yield told;
      }
      return;
    } catch (error) {
      failure = failureOfStream(error) ?? (signal.aborted ? failure : undefined);
      if (failure === undefined) {
        throw error;
      }
      const pauseMs = attempts.pauseAfter(failure);
      if (pauseMs !== undefined && !signal.aborted) {
        await pause(Math.ceil(pauseMs), undefined, { signal }).catch(() => undefined);
      }
      if (pauseMs === undefined || signal.aborted) {
        throw over(failure, signal.aborted ? signal.reason : error);
      }
    }
  }
}

function failureOfStream(error: unknown): Failure | undefined {
  return error instanceof EndedEarly ? failureOf(status.UNKNOWN, error.message, new Metadata()) : failureOfThrown(error);
}

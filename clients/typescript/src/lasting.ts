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

/** A stream on which the gateway has refused a message. It counts as if it had ended so. */
export class MessageRefused extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.told.details);
    this.failure = failure;
  }
}

/** How far a stream has come. */
export interface StreamProgress {
  /** Whether it has told anything at all. */
  wasLetIn: boolean;
  /** Whether what it yields now is only what each stream tells at first, so that it has not come on. */
  isRepeated: boolean;
}

/**
 * Begins a stream again whenever it is lost, and yields what all of them yield, until one comes to its end.
 *
 * @param signal Ends it.
 * @param run Runs the stream once, and says how far it has come.
 * @param over Makes the error of what is over, or the promise of it, from how the last stream ended and why.
 * @param lost Is told how a stream was lost that is about to be begun again.
 */
export async function* resumed<One>(
  attempts: Attempts,
  signal: AbortSignal,
  run: (progress: StreamProgress) => AsyncGenerator<One, void>,
  over: (failure: Failure, cause: unknown) => unknown,
  lost: (failure: Failure, cause: unknown) => void = () => undefined,
): AsyncGenerator<One, void> {
  let failure: Failure | undefined;
  for (;;) {
    const progress = { wasLetIn: false, isRepeated: false };
    try {
      for await (const one of run(progress)) {
        if (!progress.isRepeated) {
          attempts.comeOn();
        }
        yield one;
      }
      return;
    } catch (error) {
      failure = failureOfStream(error) ?? (signal.aborted ? failure : undefined);
      if (failure === undefined) {
        throw error;
      }
      const pauseMs = attempts.pauseAfter(failure, progress.wasLetIn);
      if (pauseMs !== undefined && !signal.aborted) {
        lost(failure, error);
        await pause(Math.ceil(pauseMs), undefined, { signal }).catch(() => undefined);
      }
      if (pauseMs === undefined || signal.aborted) {
        throw await over(failure, signal.aborted ? signal.reason : error);
      }
    }
  }
}

function failureOfStream(error: unknown): Failure | undefined {
  if (error instanceof MessageRefused) {
    return error.failure;
  }
  return error instanceof EndedEarly ? failureOf(status.UNKNOWN, error.message, new Metadata()) : failureOfThrown(error);
}

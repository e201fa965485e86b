import { status } from "@grpc/grpc-js";

import type { Failure } from "./failure.js";
import { milliseconds, type RetryPolicy } from "./service_config.js";

const REPEATED: ReadonlySet<status> = new Set([
  status.UNKNOWN,
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
]);
// As what a lost connection or the attempt's own time-out can end: then nobody has said what became of the call.
const LOST: ReadonlySet<status> = new Set([status.DEADLINE_EXCEEDED, status.CANCELLED, status.INTERNAL]);
// Callers that were told the same do not come back at the same moment.
const SPREAD = 0.25;
const MOST_SPREAD_MS = 1000;
// So ends a call that lasts when the token that its caller was let in with has expired.
const EXPIRED = "CALLER_UNAUTHENTICATED";
// An attempt needs some time to be worth its while.
const SHORTEST_ATTEMPT_MS = 20;

/** Which failures a call is repeated after, and how. */
export interface Repetition {
  readonly mostAttempts: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  readonly growth: number;
  mayRepeat(failure: Failure): boolean;
}

/** How a call with a `request_id` is repeated. */
export const WRITES: Repetition = {
  mostAttempts: Infinity,
  firstPauseMs: 100,
  longestPauseMs: 5000,
  growth: 2,
  mayRepeat({ told: { code }, isOfGateway, pushbackMs }) {
    if (isOfGateway && code === status.DEADLINE_EXCEEDED) {
      // The attempt's time was up before anything was sent. There may be time for another.
      return true;
    }
    if (pushbackMs !== undefined && pushbackMs < 0) {
      return false;
    }
    return REPEATED.has(code) || (LOST.has(code) && !isOfGateway);
  },
};

/** How a call without one is repeated: as the service configuration says, or never. */
export function readsOf(policy: RetryPolicy | undefined): Repetition {
  const codes = new Set(policy?.retryableStatusCodes);
  return {
    mostAttempts: policy?.maxAttempts ?? 1,
    firstPauseMs: policy ? milliseconds(policy.initialBackoff) : 0,
    longestPauseMs: policy ? milliseconds(policy.maxBackoff) : 0,
    growth: policy?.backoffMultiplier ?? 1,
    mayRepeat: ({ told, pushbackMs }) => codes.has(status[told.code]) && (pushbackMs ?? 0) >= 0,
  };
}

/** What a client may spend on repetitions, as gRPC has it: none while no more than half of it is left. */
export class Budget {
  readonly #most: number;
  readonly #ratio: number;
  #left: number;

  /** Takes how much there is at first and at most, and how much a success gives back. */
  constructor(most: number, ratio: number) {
    this.#most = most;
    this.#ratio = ratio;
    this.#left = most;
  }

  /** Counts a success. */
  earn(): void {
    this.#left = Math.min(this.#left + this.#ratio, this.#most);
  }

  /** Counts a failure. Returns whether the call may be repeated. */
  spend(): boolean {
    this.#left = Math.max(this.#left - 1, 0);
    return this.#left > this.#most / 2;
  }
}

export interface AttemptsOptions {
  /** How long all of it may take. */
  readonly timeoutMs: number;
  /** How long an attempt may take. */
  readonly attemptTimeoutMs: number;
  readonly repetition: Repetition;
  readonly budget: Budget;
  /** The time in milliseconds; it never goes back. */
  readonly now?: () => number;
  /** Draws a number from 0 to 1. */
  readonly random?: () => number;
}

/** The attempts of one call: whether and when there is another, and whether it is in doubt what became of it. */
export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #deadline: number;
  #made = 0;
  #longestPauseMs: number;
  #isInDoubt = false;
  #hasComeOn = false;

  constructor(options: AttemptsOptions) {
    this.#options = options;
    this.#now = options.now ?? performance.now.bind(performance);
    this.#random = options.random ?? Math.random;
    this.#deadline = this.#now() + options.timeoutMs;
    this.#longestPauseMs = options.repetition.firstPauseMs;
  }

  /** Whether an attempt may have had an effect that nothing said since speaks against. */
  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  /** Returns how many milliseconds the next attempt may take. */
  timeoutMs(): number {
    return Math.max(Math.min(this.#options.attemptTimeoutMs, this.#deadline - this.#now()), 0);
  }

  /** Counts that a stream has told what becomes of something: its end costs nothing, and pauses are short again. */
  comeOn(): void {
    this.#hasComeOn = true;
    this.#longestPauseMs = this.#options.repetition.firstPauseMs;
  }

  /**
   * Returns after how many milliseconds to repeat the call; undefined if it is over.
   *
   * @param wasLetIn Whether it was a stream that had told something before. Then its token was valid, and there may be a new one.
   */
  pauseAfter(failure: Failure, wasLetIn = false): number | undefined {
    const { repetition, budget } = this.#options;
    this.#made += 1;
    this.#learn(failure);
    const isExpired = wasLetIn && failure.told.reason === EXPIRED;
    if (!(repetition.mayRepeat(failure) || isExpired) || this.#made >= repetition.mostAttempts) {
      return undefined;
    }
    const pauseMs = this.#pauseMs(failure);
    const isFree = this.#hasComeOn;
    this.#hasComeOn = false;
    if (this.#now() + pauseMs + SHORTEST_ATTEMPT_MS > this.#deadline || !(isFree || budget.spend())) {
      return undefined;
    }
    return pauseMs;
  }

  #learn({ told: { code, effect }, isOfGateway }: Failure): void {
    if (effect) {
      this.#isInDoubt = effect === "unknown";
    } else if (!isOfGateway && (REPEATED.has(code) || LOST.has(code))) {
      // Who is silent, or was not heard, may have done it.
      this.#isInDoubt = true;
    }
  }

  #pauseMs({ told: { retryAfterMs }, pushbackMs }: Failure): number {
    const { growth, longestPauseMs } = this.#options.repetition;
    const longest = this.#longestPauseMs;
    this.#longestPauseMs = Math.min(longest * growth, longestPauseMs);
    const ownMs = longest / 2 + (this.#random() * longest) / 2;
    const toldMs = retryAfterMs ?? (pushbackMs !== undefined && pushbackMs >= 0 ? pushbackMs : undefined);
    if (toldMs === undefined) {
      return ownMs;
    }
    // It is never shortened; but one of nothing would have the call repeated without end and without a pause.
    return Math.max(ownMs, toldMs + this.#random() * Math.min(toldMs * SPREAD, MOST_SPREAD_MS));
  }
}

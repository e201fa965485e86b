import { randomUUID } from "node:crypto";
import { once } from "node:events";

import { create, toBinary, type DescMethod, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, status, type ClientDuplexStream } from "@grpc/grpc-js";

import type { Caller } from "./caller.js";
import { errorOf, UnfinishedJobError, UnknownOutcomeError, type AllocationError } from "./errors.js";
import { failureOf, failureOfStatus, toldOf } from "./failure.js";
import {
  AllocationJobSchema,
  AllocationSelectorSchema,
  type AllocationJob,
  type AllocationProgress,
  type AllocationRefusedMessage,
  type AllocationSelector,
  type WaitFor,
} from "./gen/allocation/v1/job_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";
import { Items } from "./items.js";
import { EndedEarly, MessageRefused, resumed, type LastingOptions, type StreamProgress } from "./lasting.js";
import { Outcome, type Allocated, type JobSummary, type OutcomeKind } from "./outcomes.js";

// A message may have a thousand at most, and has to be small enough also if their names are long.
const ITEMS_OF_MESSAGE = 250;

/** What is said of a job. */
export interface JobOptions extends LastingOptions {
  /** A UUID that names the job: that of an earlier one, to go on with it. One is made if there is none. */
  readonly jobId?: string;
  /** The selector of all items that have none of their own; by default the customer's default rules. */
  readonly selector?: MessageInitShape<typeof AllocationSelectorSchema>;
  /** When an item has its outcome; by default when it is allocated. */
  readonly waitFor?: WaitFor;
  /** For how many milliseconds an item is worked on: a second to an hour, by default five minutes. */
  readonly itemDeadlineMs?: number;
  /** Is told how far a stream has come, at most once a second. Each stream counts anew. */
  readonly onProgress?: (progress: AllocationProgress) => void;
  /** Is told how a stream was lost that is about to be begun again. */
  readonly onLost?: (error: AllocationError) => void;
}

/**
 * A job: it yields what becomes of its items, in no order, each told once. It begins when the first outcome is asked for. Whoever
 * leaves it early leaves the job: what was sent goes on at the gateway, and the job begun again with the same `jobId` is told of it.
 */
export interface Job<A extends Allocated> extends AsyncGenerator<Outcome<A>, void> {
  /** The id of the job: keep it to go on with the job later. */
  readonly jobId: string;
  /** How far the job has come, over all of its streams. */
  readonly summary: JobSummary;
}

/** What became of an item, as it is told by the contract. */
export interface ToldOutcome<A> {
  readonly requestId: string;
  readonly outcome:
    | { readonly case: "queued"; readonly value: boolean }
    | { readonly case: "allocation"; readonly value: A }
    | { readonly case: "refusal" | "unknown"; readonly value: Status }
    | { readonly case: undefined; readonly value?: undefined };
}

/** An item, as far as those of shipments and of consignments have the same. */
export interface JobItem {
  readonly selector?: MessageInitShape<typeof AllocationSelectorSchema> | undefined;
}

/** What jobs of shipments and of consignments do not have in common. */
export interface JobKind<Item extends JobItem, Told> {
  readonly method: DescMethod;
  referenceOf(one: Item | Told): string;
  /** Returns the request that an item is: a bulk call of one. */
  callOf(reference: string, requestId: string, selector: AllocationSelector): Message;
}

/** What the stream of a job tells, of whichever kind it is. */
interface JobResponse<Told> {
  readonly content:
    | { readonly case: "results"; readonly value: { readonly results: readonly Told[] } }
    | { readonly case: "progress"; readonly value: AllocationProgress }
    | { readonly case: "refused"; readonly value: AllocationRefusedMessage }
    | { readonly case: "job" | "repeated" | "summary" | undefined };
}

const KINDS = { queued: "queued", allocation: "allocated", refusal: "refused", unknown: "unknown" } as const;

/** An item that no stream can send. */
class Unsendable extends Error {}

/** Begins a job when its first outcome is asked for. */
export function newJob<Item extends JobItem, Told extends ToldOutcome<A>, A extends Allocated>(
  caller: Caller,
  kind: JobKind<Item, Told>,
  items: Iterable<Item> | AsyncIterable<Item>,
  options: JobOptions,
): Job<A> {
  const running = new Running<Item, Told, A>(caller, kind, items, options);
  return Object.defineProperties(running.outcomes(), {
    jobId: { value: running.jobId, enumerable: true },
    summary: { get: () => ({ ...running.summary }), enumerable: true },
  }) as Job<A>;
}

/** A job while its outcomes are taken: it is begun again with the same id whenever its stream is lost. */
class Running<Item extends JobItem, Told extends ToldOutcome<A>, A extends Allocated> {
  readonly summary = { received: 0, allocated: 0, queued: 0, refused: 0, unknown: 0, repeated: 0, streams: 0 };
  readonly #caller: Caller;
  readonly #kind: JobKind<Item, Told>;
  readonly #options: JobOptions;
  readonly #account: string;
  readonly #job: AllocationJob;
  readonly #given: Iterable<Item> | AsyncIterable<Item>;
  readonly #unanswered = new Map<string, Item>();
  #hasBegun = false;
  // Whether the items have come to their end, and each was sent.
  #isAllSent = false;

  constructor(
    caller: Caller,
    kind: JobKind<Item, Told>,
    items: Iterable<Item> | AsyncIterable<Item>,
    options: JobOptions,
  ) {
    const { jobId = randomUUID(), selector, waitFor, itemDeadlineMs } = options;
    this.#caller = caller;
    this.#kind = kind;
    this.#options = options;
    this.#account = caller.accountOf(options);
    this.#given = items;
    this.#job = create(AllocationJobSchema, {
      jobId,
      ...(selector && { selector }),
      ...(waitFor && { waitFor }),
      ...(itemDeadlineMs !== undefined && { itemDeadline: durationFromMs(itemDeadlineMs) }),
    });
  }

  get jobId(): string {
    return this.#job.jobId;
  }

  /** Yields what became of each item, in no order. */
  async *outcomes(): AsyncGenerator<Outcome<A>, void> {
    const attempts = this.#caller.lasting(this.#options.timeoutMs);
    const { signal, release } = this.#caller.begin(this.#options.signal);
    const items = new Items(this.#given);
    const request = create(this.#kind.method.input, { job: this.#job });
    try {
      // What is no job fails here and for good.
      toBinary(this.#kind.method.input, request);
      yield* resumed(
        attempts,
        signal,
        (progress) => this.#run(items, progress, attempts.timeoutMs(), signal),
        async ({ told }, cause) => {
          await items.close();
          const options = { cause: items.thrown && !signal.aborted ? items.thrown.error : cause, account: this.#account };
          if (this.#hasBegun || attempts.isInDoubt) {
            return new UnfinishedJobError(told, request, this.jobId, this.#left(items), options);
          }
          return signal.aborted ? cause : errorOf(told, request, options);
        },
        ({ told }, cause) => this.#options.onLost?.(errorOf(told, request, { cause, account: this.#account })),
      );
      if (items.thrown) {
        throw items.thrown.error;
      }
    } catch (error) {
      if (!(error instanceof Unsendable)) {
        throw error;
      }
      await items.close();
      const { told } = failureOf(status.INVALID_ARGUMENT, error.message, new Metadata());
      const options = { cause: error.cause, account: this.#account };
      throw new UnfinishedJobError(told, request, this.jobId, this.#left(items), options);
    } finally {
      release();
      // Not awaited: it may be waiting for an item that never comes.
      void items.close();
    }
  }

  /** Returns the references of all that were taken and have no outcome. */
  #left(items: Items<Item>): readonly string[] {
    return [...new Set([...this.#unanswered.keys(), ...items.waiting.map(this.#kind.referenceOf)])];
  }

  async *#run(
    items: Items<Item>,
    progress: StreamProgress,
    timeoutMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<Outcome<A>, void> {
    const sent = { metadata: this.#options.metadata, account: this.#account, signal };
    const stream = await this.#caller.duplex(this.#kind.method, timeoutMs, sent);
    this.summary.streams += 1;
    const over = new AbortController();
    this.#send(stream, items, over.signal).catch((error: unknown) => {
      if (!over.signal.aborted) {
        stream.destroy(error as Error);
      }
    });
    try {
      for await (const { content } of stream as AsyncIterable<JobResponse<Told>>) {
        progress.wasLetIn = true;
        if (content.case === "results") {
          for (const told of content.value.results) {
            const reference = this.#kind.referenceOf(told);
            const item = this.#unanswered.get(reference);
            // What has its outcome was told before.
            if (item !== undefined) {
              this.#unanswered.delete(reference);
              yield this.#outcome(reference, told, item);
            }
          }
        } else if (content.case === "progress") {
          this.#options.onProgress?.(content.value);
        } else if (content.case === "job") {
          this.#hasBegun = true;
        } else if (content.case === "refused" && content.value.status) {
          // There can be no outcome for what was in it on this stream.
          throw new MessageRefused(failureOfStatus(content.value.status));
        } else if (content.case === "summary" && this.#isAllSent && this.#unanswered.size === 0) {
          // One that comes while items are still to be sent speaks of those before them.
          return;
        }
      }
      throw new EndedEarly("The stream of the job ended before every item had its outcome.");
    } finally {
      over.abort();
      stream.cancel();
    }
  }

  #outcome(reference: string, { requestId, outcome }: Told, item: Item): Outcome<A> {
    const kind: OutcomeKind = outcome.case === undefined ? "unknown" : KINDS[outcome.case];
    this.summary[kind] += 1;
    const allocation = outcome.case === "allocation" ? outcome.value : undefined;
    if (kind === "allocated" || kind === "queued") {
      return new Outcome(reference, requestId, kind, allocation, undefined);
    }
    const told =
      outcome.case === "refusal" || outcome.case === "unknown"
        ? toldOf(outcome.value)
        : failureOf(status.UNKNOWN, "", new Metadata()).told;
    const selector = create(AllocationSelectorSchema, item.selector ?? this.#job.selector ?? {});
    const request = this.#kind.callOf(reference, requestId, selector);
    const options = { account: this.#account };
    const error = kind === "unknown" ? new UnknownOutcomeError(told, request, options) : errorOf(told, request, options);
    return new Outcome(reference, requestId, kind, allocation, error);
  }

  async #send(stream: ClientDuplexStream<Buffer, Message>, items: Items<Item>, over: AbortSignal): Promise<void> {
    const write = async (message: Record<string, unknown>): Promise<void> => {
      if (!stream.write(this.#serialized(message))) {
        await once(stream, "drain", { signal: over });
      }
    };
    await write({ job: this.#job });
    const again = [...this.#unanswered.values()];
    for (let from = 0; from < again.length; from += ITEMS_OF_MESSAGE) {
      await write({ items: again.slice(from, from + ITEMS_OF_MESSAGE) });
    }
    const ended = once(over, "abort");
    while (!over.aborted) {
      if (items.waiting.length === 0 && !items.hasAll) {
        await Promise.race([items.more(), ended]);
      } else if (items.waiting.length === 0) {
        this.#isAllSent = true;
        stream.end();
        return;
      } else {
        const fresh = this.#register(items.take());
        if (fresh.length > 0) {
          await write({ items: fresh });
        }
      }
    }
  }

  #serialized(message: Record<string, unknown>): Buffer {
    const { input } = this.#kind.method;
    try {
      return Buffer.from(toBinary(input, create(input, message)));
    } catch (error) {
      throw new Unsendable(`An item cannot be sent: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Returns the items that are new, without those whose reference has no outcome yet. */
  #register(items: readonly Item[]): readonly Item[] {
    const fresh = items.filter((item) => {
      const reference = this.#kind.referenceOf(item);
      const isNew = !this.#unanswered.has(reference);
      if (isNew) {
        this.#unanswered.set(reference, item);
      }
      return isNew;
    });
    this.summary.received += items.length;
    this.summary.repeated += items.length - fresh.length;
    return fresh;
  }
}

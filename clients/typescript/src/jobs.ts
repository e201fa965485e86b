import { randomUUID } from "node:crypto";
import { once } from "node:events";

import { create, toBinary, type DescMethod, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream } from "@grpc/grpc-js";

import type { Caller } from "./caller.js";
import { errorOf, UnfinishedJobError } from "./errors.js";
import { failureOfStatus } from "./failure.js";
import {
  AllocationJobSchema,
  type AllocationJob,
  type AllocationProgress,
  type AllocationRefusedMessage,
  type AllocationSelectorSchema,
  type WaitFor,
} from "./gen/allocation/v1/job_pb.js";
import { EndedEarly, MessageRefused, resumed, type LastingOptions, type StreamProgress } from "./lasting.js";

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
  /** Is told how far the job has come, at most once a second. It counts anew after a connection was lost. */
  readonly onProgress?: (progress: AllocationProgress) => void;
}

/** What jobs of shipments and of consignments do not have in common. */
export interface JobKind<Item, Outcome> {
  readonly method: DescMethod;
  referenceOf(one: Item | Outcome): string;
}

/** What the stream of a job tells, of whichever kind it is. */
interface JobResponse<Outcome> {
  readonly content:
    | { readonly case: "results"; readonly value: { readonly results: readonly Outcome[] } }
    | { readonly case: "progress"; readonly value: AllocationProgress }
    | { readonly case: "refused"; readonly value: AllocationRefusedMessage }
    | { readonly case: "job" | "repeated" | "summary" | undefined };
}

/** A job: it is begun again with the same id whenever its stream is lost, until every item has its outcome. */
export class Job<Item, Outcome> {
  readonly #caller: Caller;
  readonly #kind: JobKind<Item, Outcome>;
  readonly #options: JobOptions;
  readonly #job: AllocationJob;
  readonly #items: AsyncGenerator<readonly Item[], void>;
  // Items that were taken from the caller and are in no message yet.
  readonly #waiting = new Set<Item>();
  readonly #unanswered = new Map<string, Item>();
  // The items that are waited for. What comes after its stream was lost goes to the next one.
  #next: Promise<IteratorResult<readonly Item[], void>> | undefined;
  #hasBegun = false;
  // Whether the items have come to their end, and each was sent.
  #isAllSent = false;
  // What the items have thrown: it is thrown when those before it have their outcome.
  #thrown: { readonly error: unknown } | undefined;

  constructor(
    caller: Caller,
    kind: JobKind<Item, Outcome>,
    items: Iterable<Item> | AsyncIterable<Item>,
    options: JobOptions,
  ) {
    const { jobId = randomUUID(), selector, waitFor, itemDeadlineMs } = options;
    this.#caller = caller;
    this.#kind = kind;
    this.#options = options;
    this.#items = this.#batches(items);
    this.#job = create(AllocationJobSchema, {
      jobId,
      ...(selector && { selector }),
      ...(waitFor && { waitFor }),
      ...(itemDeadlineMs !== undefined && { itemDeadline: durationFromMs(itemDeadlineMs) }),
    });
  }

  /** Yields what became of each item, in no order. */
  async *outcomes(): AsyncGenerator<Outcome, void> {
    const account = this.#caller.accountOf(this.#options);
    const attempts = this.#caller.lasting(this.#options.timeoutMs);
    const { signal, release } = this.#caller.begin(this.#options.signal);
    try {
      yield* resumed(
        attempts,
        signal,
        (progress) => this.#run(progress, attempts.timeoutMs(), signal),
        ({ told }, cause) => {
          const request = create(this.#kind.method.input, { job: this.#job });
          const options = { cause: this.#thrown && !signal.aborted ? this.#thrown.error : cause, account };
          if (this.#hasBegun || attempts.isInDoubt) {
            return new UnfinishedJobError(told, request, this.#job.jobId, this.#left(), options);
          }
          return signal.aborted ? cause : errorOf(told, request, options);
        },
      );
      if (this.#thrown) {
        throw this.#thrown.error;
      }
    } finally {
      release();
      // Not awaited: it may be waiting for an item that never comes.
      void observed(this.#items.return());
    }
  }

  /** Returns the references of all that were taken and have no outcome. */
  #left(): readonly string[] {
    return [...new Set([...this.#unanswered.keys(), ...[...this.#waiting].map(this.#kind.referenceOf)])];
  }

  async *#run(progress: StreamProgress, timeoutMs: number, signal: AbortSignal): AsyncGenerator<Outcome, void> {
    const sent = { metadata: this.#options.metadata, account: this.#caller.accountOf(this.#options), signal };
    const stream = await this.#caller.duplex(this.#kind.method, timeoutMs, sent);
    const over = new AbortController();
    this.#send(stream, over.signal).catch((error: unknown) => {
      if (!over.signal.aborted) {
        stream.destroy(error as Error);
      }
    });
    try {
      for await (const { content } of stream as AsyncIterable<JobResponse<Outcome>>) {
        progress.wasLetIn = true;
        if (content.case === "results") {
          for (const outcome of content.value.results) {
            this.#unanswered.delete(this.#kind.referenceOf(outcome));
            yield outcome;
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

  async #send(stream: ClientDuplexStream<Buffer, Message>, over: AbortSignal): Promise<void> {
    const write = async (message: Record<string, unknown>): Promise<void> => {
      const { input } = this.#kind.method;
      if (!stream.write(Buffer.from(toBinary(input, create(input, message))))) {
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
      this.#next ??= observed(this.#items.next());
      await Promise.race([this.#next, ended]);
      if (over.aborted) {
        return;
      }
      const { done, value } = await this.#next;
      if (done) {
        this.#isAllSent = true;
        stream.end();
        return;
      }
      this.#next = undefined;
      const fresh = value.filter((item) => !this.#unanswered.has(this.#kind.referenceOf(item)));
      for (const item of fresh) {
        this.#unanswered.set(this.#kind.referenceOf(item), item);
      }
      value.forEach((item) => this.#waiting.delete(item));
      await write({ items: fresh });
    }
  }

  /** Yields items in batches: as they are there, or one by one if each has to be waited for. They end where they throw. */
  async *#batches(items: Iterable<Item> | AsyncIterable<Item>): AsyncGenerator<readonly Item[], void> {
    let batch: Item[] = [];
    try {
      if (Symbol.asyncIterator in items) {
        for await (const item of items) {
          this.#waiting.add(item);
          yield [item];
        }
        return;
      }
      for (const item of items) {
        this.#waiting.add(item);
        batch.push(item);
        if (batch.length === ITEMS_OF_MESSAGE) {
          yield batch;
          batch = [];
        }
      }
    } catch (error) {
      this.#thrown = { error };
    }
    if (batch.length > 0) {
      yield batch;
    }
  }
}

/** Lets a promise fail also while nobody waits for it. */
function observed<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

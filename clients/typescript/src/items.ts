import { setTimeout as pause } from "node:timers/promises";

// A sync iterable is asked for so many at once.
const MOST_AT_ONCE = 250;
// How long an iterable that does not wait may need to give the item that it was asked for when its job is over.
const LAST_ITEM_MS = 100;

/** The items of a job, as they are taken from their caller. They end where the iterable throws. */
export class Items<Item> {
  readonly #iterator: Iterator<Item> | AsyncIterator<Item>;
  readonly #isAsync: boolean;
  #waiting: Item[] = [];
  #asked: Promise<void> | undefined;
  #hasAll = false;
  #isClosed = false;
  #thrown: { readonly error: unknown } | undefined;

  constructor(items: Iterable<Item> | AsyncIterable<Item>) {
    this.#isAsync = Symbol.asyncIterator in items;
    this.#iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  }

  /** Those that were taken from the caller and are in no message yet. */
  get waiting(): readonly Item[] {
    return this.#waiting;
  }

  /** Whether there are no more to be taken. */
  get hasAll(): boolean {
    return this.#hasAll;
  }

  /** What the iterable has thrown. */
  get thrown(): { readonly error: unknown } | undefined {
    return this.#thrown;
  }

  /** Waits for an item, or their end. What was asked for by a stream that was lost is not asked for again. */
  async more(): Promise<void> {
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined;
    });
    await this.#asked;
  }

  /** Returns those that wait, which are their taker's from now on. */
  take(): readonly Item[] {
    const taken = this.#waiting;
    this.#waiting = [];
    return taken;
  }

  /**
   * Takes no more. Afterwards all that were taken are known; but an iterable that waits for its next item is not waited for: that item
   * is dropped.
   */
  async close(): Promise<void> {
    if (this.#isClosed) {
      return;
    }
    this.#isClosed = true;
    if (!this.#hasAll) {
      const over = new AbortController();
      // A generator that waits takes note of its end later; others may end their wait.
      await Promise.race([this.#return(), pause(LAST_ITEM_MS, undefined, { signal: over.signal }).catch(() => undefined)]);
      over.abort();
    }
  }

  async #return(): Promise<void> {
    try {
      await this.#iterator.return?.();
    } catch {
      // Nobody wants more of them, whatever they are.
    }
    await this.#asked;
  }

  async #ask(): Promise<void> {
    try {
      const most = this.#isAsync ? 1 : MOST_AT_ONCE;
      for (let count = 0; count < most && !this.#hasAll; count++) {
        const asked = this.#iterator.next();
        const { done, value } = this.#isAsync ? await asked : (asked as IteratorResult<Item>);
        if (done) {
          this.#hasAll = true;
        } else {
          this.#waiting.push(value);
        }
      }
    } catch (error) {
      this.#thrown = { error };
      this.#hasAll = true;
    }
  }
}

import { create, toBinary, type DescMethod, type Message } from "@bufbuild/protobuf";

import type { Caller } from "./caller.js";
import { errorOf } from "./errors.js";
import { toldOf } from "./failure.js";
import type { Status } from "./gen/google/rpc/status_pb.js";
import { EndedEarly, resumed, type LastingOptions, type StreamProgress } from "./lasting.js";
import { Standing, type Allocated } from "./outcomes.js";

/** How one stands, as it is told by the contract. */
export interface ToldStanding<A> {
  readonly standing:
    | { readonly case: "allocation"; readonly value: A }
    | { readonly case: "error"; readonly value: Status }
    | { readonly case: undefined; readonly value?: undefined };
  readonly final: boolean;
}

/** What watching shipments and consignments does not have in common. */
export interface WatchKind<Told> {
  readonly method: DescMethod;
  requestOf(references: readonly string[]): Record<string, unknown>;
  standingsOf(response: Message): readonly Told[];
  referenceOf(standing: Told): string;
  /** Returns the request that reads one. */
  callOf(reference: string): Message;
}

/** Yields how each stands, and each change, until all are final. Those that are not are told anew after a stream was lost. */
export async function* watch<Told extends ToldStanding<A>, A extends Allocated>(
  caller: Caller,
  kind: WatchKind<Told>,
  references: Iterable<string>,
  options: LastingOptions,
): AsyncGenerator<Standing<A>, void> {
  const left = new Set(references);
  const attempts = caller.lasting(options.timeoutMs);
  const { signal, release } = caller.begin(options.signal);
  const { input } = kind.method;
  const account = caller.accountOf(options);
  const request = (): Message => create(input, kind.requestOf([...left]));

  function standingOf(reference: string, { standing, final }: Told): Standing<A> {
    const allocation = standing.case === "allocation" ? standing.value : undefined;
    const error = standing.case === "error" ? errorOf(toldOf(standing.value), kind.callOf(reference), { account }) : undefined;
    return new Standing(reference, allocation, error, final);
  }

  async function* run(progress: StreamProgress): AsyncGenerator<Standing<A>, void> {
    if (left.size === 0) {
      return; // the stream was lost after all of it was told
    }
    const serialized = Buffer.from(toBinary(input, request()));
    const sent = { metadata: options.metadata, account, signal };
    const stream = await caller.serverStream(kind.method, serialized, attempts.timeoutMs(), sent);
    // Each stream tells at first how all stand that are not final.
    const known = new Set<string>();
    try {
      for await (const response of stream as AsyncIterable<Message>) {
        progress.wasLetIn = true;
        for (const standing of kind.standingsOf(response)) {
          const reference = kind.referenceOf(standing);
          progress.isRepeated = !standing.final && !known.has(reference);
          known.add(reference);
          if (standing.final) {
            left.delete(reference);
          }
          yield standingOf(reference, standing);
        }
      }
      if (left.size > 0) {
        throw new EndedEarly("The stream of the watch ended before all were final.");
      }
    } finally {
      stream.cancel();
    }
  }

  try {
    yield* resumed(attempts, signal, run, ({ told }, cause) =>
      signal.aborted ? cause : errorOf(told, request(), { cause, account }),
    );
  } finally {
    release();
  }
}

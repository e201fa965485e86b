import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import {
  clone,
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Metadata,
  type Client as GrpcClient,
  type ClientDuplexStream,
  type ClientReadableStream,
} from "@grpc/grpc-js";

import { errorOf, requestIdOf, UnknownOutcomeError } from "./errors.js";
import { failureOfThrown, type Failure } from "./failure.js";
import { Attempts, Budget, readsOf, WRITES, type Repetition } from "./policy.js";
import { methodConfigs, milliseconds, type ServiceConfig } from "./service_config.js";
import type { TokenFile } from "./token.js";

// A timer of Node's cannot be set for longer.
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
const ACCOUNT = "allocation-account";
const AUTHORIZATION = "authorization";
const CLOSED = "The client is closed";

/** What may be said of a single call. */
export interface CallOptions {
  /** How many milliseconds the call may take with all its repetitions, instead of the time-out of the client. */
  readonly timeoutMs?: number;
  /** The account of the gateway that the call is for, instead of that of the client. If it is empty, the gateway chooses. */
  readonly account?: string;
  /** Sent besides the metadata of the client. */
  readonly metadata?: Readonly<Record<string, string>>;
  /**
   * Ends the call. It fails with the reason of the signal; or, if the call may have been carried out, with an
   * UnknownOutcomeError that has it as its `cause`.
   */
  readonly signal?: AbortSignal;
}

/** What the caller has of the options of a client. */
export interface CallerOptions {
  readonly timeoutMs: number;
  readonly account: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly token: TokenFile | undefined;
  readonly serviceConfig: ServiceConfig;
}

/** Metadata with its names as they are sent, so that they are compared without case. */
type Headers = Readonly<Record<string, string>>;

/** What ends a call. */
export interface Ending {
  readonly signal: AbortSignal;
  /** Has to be called when the call is over. */
  release(): void;
}

/** What a stream is opened with. */
export interface Sent {
  readonly metadata: CallOptions["metadata"];
  /** The account that it is for; empty if none is named. */
  readonly account: string;
  /** Cancels it. */
  readonly signal: AbortSignal;
}

/** An rpc of the gateway that has one request and one response. */
export interface Rpc {
  readonly path: string;
  readonly input: DescMessage;
  readonly output: DescMessage;
  /** Whether it has a `request_id`, and so is repeated with the same one. */
  readonly isWrite: boolean;
  readonly timeoutMs: number;
  readonly repetition: Repetition;
}

/**
 * Makes logical calls out of attempts.
 *
 * It keeps the time-outs of the service configuration itself, for gRPC for Node takes one of "0.5s" for five nanoseconds. And it
 * repeats reads itself, so that they have one budget with writes, and are repeated also if their answer is lost half-way.
 */
export class Caller {
  readonly #grpc: GrpcClient;
  readonly #options: CallerOptions;
  readonly #headers: Headers;
  readonly #budget: Budget;
  readonly #rpcs: ReadonlyMap<string, Rpc>;
  readonly #underWay = new Set<AbortController>();
  #isClosed = false;

  /**
   * @throws Error: The service configuration has no time-out for an rpc; or the metadata or the account cannot be sent.
   */
  constructor(grpc: GrpcClient, services: readonly DescService[], options: CallerOptions) {
    const { maxTokens, tokenRatio } = options.serviceConfig.retryThrottling;
    this.#grpc = grpc;
    this.#options = { ...options, timeoutMs: validTimeout(options.timeoutMs) };
    this.#headers = headersOf(options.metadata);
    this.#metadata(undefined, options.account);
    this.#budget = new Budget(maxTokens, tokenRatio);
    this.#rpcs = rpcsOf(services, options.serviceConfig);
  }

  /** Calls the rpc that has this type of request. */
  async call(request: Message, options: CallOptions): Promise<Message> {
    for (const rpc of this.#rpcs.values()) {
      if (rpc.input.typeName === request.$typeName) {
        return this.#invoke(rpc, request, options);
      }
    }
    throw new TypeError(`${request.$typeName} is not the request of an rpc`);
  }

  /** Calls an rpc. */
  async invoke<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    init: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    const rpc = this.#rpcs.get(pathOf(method));
    if (rpc === undefined) {
      throw new TypeError(`${pathOf(method)} is not an rpc of this client`);
    }
    return (await this.#invoke(rpc, create(method.input, init) as Message, options)) as MessageShape<O>;
  }

  /** Returns the account that a call is for: its own, or else that of the client; empty if none is named. */
  accountOf({ account, metadata }: CallOptions): string {
    const ofClient = this.#options.account || this.#headers[ACCOUNT];
    return account ?? headersOf(metadata)[ACCOUNT] ?? ofClient ?? "";
  }

  /** Begins the attempts of a call that lasts. */
  lasting(timeoutMs: number): Attempts {
    const all = validTimeout(timeoutMs);
    return new Attempts({ timeoutMs: all, attemptTimeoutMs: all, repetition: WRITES, budget: this.#budget });
  }

  /** Opens a stream both ways; what is written is serialized already. */
  async duplex(method: DescMethod, timeoutMs: number, sent: Sent): Promise<ClientDuplexStream<Buffer, Message>> {
    const metadata = await this.#authorized(this.#metadata(sent.metadata, sent.account));
    sent.signal.throwIfAborted();
    const stream = this.#grpc.makeBidiStreamRequest(
      pathOf(method),
      (message: Buffer) => message,
      (answer: Buffer) => fromBinary(method.output, answer),
      metadata,
      { deadline: Date.now() + timeoutMs },
    );
    return ended(stream, sent.signal);
  }

  /** Opens a stream of answers; the request is serialized already. */
  async serverStream(
    method: DescMethod,
    request: Buffer,
    timeoutMs: number,
    sent: Sent,
  ): Promise<ClientReadableStream<Message>> {
    const metadata = await this.#authorized(this.#metadata(sent.metadata, sent.account));
    sent.signal.throwIfAborted();
    const stream = this.#grpc.makeServerStreamRequest(
      pathOf(method),
      (message: Buffer) => message,
      (answer: Buffer) => fromBinary(method.output, answer),
      request,
      metadata,
      { deadline: Date.now() + timeoutMs },
    );
    return ended(stream, sent.signal);
  }

  /**
   * Begins a call, which its own signal ends, or the end of the client.
   *
   * @throws Error: The client is closed; or what the signal says, if it has ended already.
   */
  begin(own: AbortSignal | undefined): Ending {
    own?.throwIfAborted();
    if (this.#isClosed) {
      throw new Error(CLOSED);
    }
    const controller = new AbortController();
    const end = (): void => controller.abort(own?.reason);
    own?.addEventListener("abort", end);
    this.#underWay.add(controller);
    const release = (): void => {
      own?.removeEventListener("abort", end);
      this.#underWay.delete(controller);
    };
    return { signal: controller.signal, release };
  }

  /** Ends the calls that are under way, and makes no more. */
  close(): void {
    this.#isClosed = true;
    for (const one of this.#underWay) {
      one.abort(new Error(CLOSED));
    }
  }

  async #invoke(rpc: Rpc, given: Message, options: CallOptions): Promise<Message> {
    const ending = this.begin(options.signal);
    try {
      const request = rpc.isWrite ? named(rpc.input, given) : given;
      return await this.#repeat(rpc, request, options, ending.signal);
    } finally {
      ending.release();
    }
  }

  async #repeat(rpc: Rpc, request: Message, options: CallOptions, signal: AbortSignal): Promise<Message> {
    // What is no request, or no metadata, fails here and for good.
    const serialized = Buffer.from(toBinary(rpc.input, request));
    const account = this.accountOf(options);
    const metadata = this.#metadata(options.metadata, account);
    const attempts = this.#attempts(rpc, options.timeoutMs);
    let failure: Failure | undefined;
    for (;;) {
      try {
        const answer = await this.#attempt(rpc, serialized, metadata.clone(), attempts.timeoutMs(), signal);
        this.#budget.earn();
        return answer;
      } catch (error) {
        // An error that is not gRPC's, such as of a client that was closed, tells nothing of the attempts before it.
        failure = failureOfThrown(error) ?? failure;
        if (failure === undefined) {
          throw error;
        }
        const pauseMs = attempts.pauseAfter(failure);
        if (pauseMs !== undefined) {
          await pause(Math.ceil(pauseMs), undefined, { signal }).catch(() => undefined);
        }
        if (pauseMs === undefined || signal.aborted) {
          const cause: unknown = signal.aborted ? signal.reason : error;
          if (rpc.isWrite && attempts.isInDoubt) {
            throw new UnknownOutcomeError(failure.told, request, { cause, account });
          }
          signal.throwIfAborted();
          throw errorOf(failure.told, request, { cause, account });
        }
      }
    }
  }

  #attempts({ isWrite, timeoutMs, repetition }: Rpc, ownMs: number | undefined): Attempts {
    const limit = isWrite ? this.#options.timeoutMs : Math.min(timeoutMs, this.#options.timeoutMs);
    const all = ownMs === undefined ? limit : validTimeout(ownMs);
    return new Attempts({
      timeoutMs: all,
      attemptTimeoutMs: isWrite ? timeoutMs : all,
      repetition,
      budget: this.#budget,
    });
  }

  async #attempt(
    rpc: Rpc,
    serialized: Buffer,
    metadata: Metadata,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Message> {
    await this.#authorized(metadata);
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const call = this.#grpc.makeUnaryRequest(
        rpc.path,
        (request: Buffer) => request,
        (answer: Buffer) => fromBinary(rpc.output, answer),
        serialized,
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          signal.removeEventListener("abort", cancel);
          if (error) {
            reject(error);
          } else {
            resolve(answer as Message);
          }
        },
      );
      const cancel = (): void => call.cancel();
      signal.addEventListener("abort", cancel);
    });
  }

  async #authorized(metadata: Metadata): Promise<Metadata> {
    if (this.#options.token && metadata.get(AUTHORIZATION).length === 0) {
      metadata.set(AUTHORIZATION, `Bearer ${await this.#options.token.current()}`);
    }
    return metadata;
  }

  #metadata(own: CallOptions["metadata"], account: string): Metadata {
    const sent = new Metadata();
    const ofCall = headersOf(own);
    for (const [name, value] of Object.entries(this.#headers)) {
      sent.add(name, value);
    }
    // The gateway refuses two, of this as of accounts.
    if (AUTHORIZATION in ofCall) {
      sent.remove(AUTHORIZATION);
    }
    for (const [name, value] of Object.entries(ofCall)) {
      sent.add(name, value);
    }
    sent.remove(ACCOUNT);
    if (account) {
      sent.set(ACCOUNT, account);
    }
    return sent;
  }
}

/** Returns the request of a write with a `request_id`: the request itself if it has one, or else a copy. */
function named(schema: DescMessage, request: Message): Message {
  if (requestIdOf(request)) {
    return request;
  }
  return Object.assign(clone(schema, request), { requestId: randomUUID() });
}

/**
 * Returns metadata with its names in small letters.
 *
 * @throws TypeError: It has a name twice.
 */
function headersOf(given: CallOptions["metadata"]): Headers {
  const entries = Object.entries(given ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  const made = Object.fromEntries(entries);
  if (Object.keys(made).length < entries.length) {
    throw new TypeError(`metadata has a name twice: ${entries.map(([name]) => name).join(", ")}`);
  }
  return made;
}

function ended<Stream extends ClientReadableStream<Message>>(stream: Stream, signal: AbortSignal): Stream {
  const cancel = (): void => stream.cancel();
  // It fails once more when it is cancelled, and then nobody may be listening.
  stream.on("error", () => undefined);
  stream.on("status", () => signal.removeEventListener("abort", cancel));
  signal.addEventListener("abort", cancel);
  return stream;
}

function rpcsOf(services: readonly DescService[], config: ServiceConfig): ReadonlyMap<string, Rpc> {
  const configs = methodConfigs(config);
  const found = new Map<string, Rpc>();
  for (const method of services.flatMap((service) => service.methods)) {
    if (method.methodKind !== "unary") {
      continue;
    }
    const path = pathOf(method);
    const { timeout, retryPolicy } = configs.get(path) ?? {};
    if (timeout === undefined) {
      throw new Error(`The service configuration has no time-out for ${path}`);
    }
    const isWrite = method.input.fields.some((field) => field.name === "request_id");
    found.set(path, {
      path,
      input: method.input,
      output: method.output,
      isWrite,
      timeoutMs: milliseconds(timeout),
      repetition: isWrite ? WRITES : readsOf(retryPolicy),
    });
  }
  return found;
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function validTimeout(timeoutMs: number): number {
  if (!(timeoutMs > 0 && timeoutMs <= LONGEST_TIMEOUT_MS)) {
    throw new RangeError(`timeoutMs has to be more than 0 and at most ${LONGEST_TIMEOUT_MS}, not ${timeoutMs}`);
  }
  return timeoutMs;
}

import type {
  DescMessage,
  DescMethodUnary,
  DescService,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Client as GrpcClient, type ChannelOptions, type Interceptor } from "@grpc/grpc-js";

import { Caller, type CallOptions } from "./caller.js";
import { channelCredentials, channelOptions, type Tls } from "./connecting.js";
import { ConsignmentAllocationService } from "./gen/allocation/v1/consignment_allocation_service_pb.js";
import { ServiceGroupService } from "./gen/allocation/v1/service_group_service_pb.js";
import { ShipmentAllocationService } from "./gen/allocation/v1/shipment_allocation_service_pb.js";
import { DEFAULT_SERVICE_CONFIG } from "./gen/service_config.js";
import type { ServiceConfig } from "./service_config.js";
import { consignmentStreams, shipmentStreams, type ConsignmentStreams, type ShipmentStreams } from "./streams.js";
import { TokenFile } from "./token.js";

/** How many milliseconds a call may take with all its repetitions, unless it or its client says otherwise. */
export const DEFAULT_TIMEOUT_MS = 60_000;

/** The rpcs of a service that are no streams, as functions. */
export type Calls<Service extends DescService> = {
  readonly [Name in keyof Service["method"] as Service["method"][Name] extends DescMethodUnary
    ? Name
    : never]: Service["method"][Name] extends DescMethodUnary<infer Input, infer Output>
    ? (request: MessageInitShape<Input>, options?: CallOptions) => Promise<MessageShape<Output>>
    : never;
};

/** How a client reaches its gateway. */
export interface ClientOptions {
  /** How TLS is done: by default with Node's own list of authorities. */
  readonly tls?: Tls;
  /** Do without TLS, for a sandbox, or where a mesh does it. */
  readonly plaintext?: boolean;
  /**
   * A file with a bearer token, which is read again within a second of being replaced. A call with `authorization` in its
   * metadata, or in that of the client, is sent with that instead.
   */
  readonly tokenFile?: string | URL;
  /** The account of the gateway that calls are for, unless they say otherwise. Without it the gateway chooses. */
  readonly account?: string;
  /** Sent with each call. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** How many milliseconds a call may take with all its repetitions, unless it says otherwise. */
  readonly timeoutMs?: number;
  /** It has to name a time-out for every rpc but streams. */
  readonly serviceConfig?: ServiceConfig;
  /** gRPC's channel options, which win over those of the client. */
  readonly channelOptions?: ChannelOptions;
  /** gRPC's client interceptors; they see each attempt. */
  readonly interceptors?: Interceptor[];
}

/** Calls one gateway. It is meant to live long, and makes any number of calls at once. */
export class Client {
  /** Allocates shipments. */
  readonly shipments: Calls<typeof ShipmentAllocationService> & ShipmentStreams;
  /** Allocates consignments. */
  readonly consignments: Calls<typeof ConsignmentAllocationService> & ConsignmentStreams;
  /** Lists and finds service groups. */
  readonly serviceGroups: Calls<typeof ServiceGroupService>;

  readonly #grpc: GrpcClient;
  readonly #caller: Caller;

  /**
   * Makes ready to call; the connection is made with the first call.
   *
   * @param address `host:port`, or any target of gRPC's. Calls go to all addresses of the host in turn.
   * @throws TypeError: TLS and plaintext were asked for, or a token would be sent without TLS, or half a certificate is given.
   * @throws Error: The token file cannot be read, or a PEM text.
   */
  constructor(address: string, options: ClientOptions = {}) {
    const { tls, plaintext = false, tokenFile, serviceConfig = DEFAULT_SERVICE_CONFIG } = options;
    if (plaintext && (tls !== undefined || tokenFile !== undefined)) {
      throw new TypeError("plaintext goes neither with tls nor with tokenFile: the token could be read on its way");
    }
    const token = tokenFile === undefined ? undefined : new TokenFile(tokenFile);
    this.#grpc = new GrpcClient(address, channelCredentials(tls, plaintext), {
      ...channelOptions(serviceConfig, tls, options.channelOptions ?? {}),
      interceptors: options.interceptors ?? [],
    });
    const services = [ShipmentAllocationService, ConsignmentAllocationService, ServiceGroupService];
    this.#caller = new Caller(this.#grpc, services, {
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      account: options.account ?? "",
      metadata: options.metadata ?? {},
      token,
      serviceConfig,
    });
    this.shipments = { ...this.#calls(ShipmentAllocationService), ...shipmentStreams(this.#caller) };
    this.consignments = { ...this.#calls(ConsignmentAllocationService), ...consignmentStreams(this.#caller) };
    this.serviceGroups = this.#calls(ServiceGroupService);
  }

  /**
   * Makes the call whose request this is, such as the one of an UnknownOutcomeError.
   *
   * @throws AllocationError: It failed.
   * @throws TypeError: This is not the request of an rpc.
   */
  async call(request: Message, options: CallOptions = {}): Promise<Message> {
    return this.#caller.call(request, options);
  }

  /** Closes the connections. Calls under way end as if their signal had ended them. */
  close(): void {
    this.#caller.close();
    this.#grpc.close();
  }

  #calls<Service extends DescService>(service: Service): Calls<Service> {
    const made: Record<string, unknown> = {};
    for (const method of service.methods) {
      if (method.methodKind === "unary") {
        made[method.localName] = (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
          this.#caller.invoke(method, request, options);
      }
    }
    return made as Calls<Service>;
  }
}

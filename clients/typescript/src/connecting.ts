import { credentials, type ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";

import type { ServiceConfig } from "./service_config.js";

const USER_AGENT = "allocation-gateway-client-typescript";
const KEEPALIVE_TIME_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
// A gateway that was restarted is found again within seconds. gRPC alone would wait for up to two minutes.
const FIRST_RECONNECT_MS = 100;
const LONGEST_RECONNECT_MS = 5000;
// Nor may a rollout that replaces every gateway outrun what is known of a name. gRPC alone would ask again after half a minute.
const RESOLVE_AGAIN_MS = 1000;
// Answers with labels are the largest there are.
const LARGEST_ANSWER = 32 << 20;

/** How a client proves the gateway's identity and, with mutual TLS, its own. All texts are PEM. */
export interface Tls {
  /** The authorities to trust; by default those of Node's own list. */
  readonly ca?: string | Uint8Array;
  /** The client's certificate chain, for mutual TLS. */
  readonly cert?: string | Uint8Array;
  /** Its private key. */
  readonly key?: string | Uint8Array;
  /** The name that the gateway's certificate has; by default the host that is called. */
  readonly serverName?: string;
}

/** Returns the credentials of a channel. */
export function channelCredentials(tls: Tls | undefined, plaintext: boolean): ChannelCredentials {
  if (plaintext) {
    return credentials.createInsecure();
  }
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
    throw new TypeError("cert and key belong together");
  }
  return credentials.createSsl(bytes(tls?.ca), bytes(tls?.key), bytes(tls?.cert));
}

/** Returns the options of a channel; a caller's own win. */
export function channelOptions(config: ServiceConfig, tls: Tls | undefined, own: ChannelOptions): ChannelOptions {
  return {
    // Only this: time-outs and repetitions are the client's to keep. See Caller.
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: config.loadBalancingConfig }),
    "grpc.service_config_disable_resolution": 1,
    "grpc.primary_user_agent": USER_AGENT,
    "grpc.keepalive_time_ms": KEEPALIVE_TIME_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.initial_reconnect_backoff_ms": FIRST_RECONNECT_MS,
    "grpc.max_reconnect_backoff_ms": LONGEST_RECONNECT_MS,
    "grpc.dns_min_time_between_resolutions_ms": RESOLVE_AGAIN_MS,
    "grpc.max_receive_message_length": LARGEST_ANSWER,
    ...(tls?.serverName ? { "grpc.ssl_target_name_override": tls.serverName } : {}),
    ...own,
  };
}

function bytes(pem: string | Uint8Array | undefined): Buffer | null {
  return pem === undefined ? null : Buffer.from(pem as string);
}

package com.allocationgateway.client;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;

/** Makes the ways in which a call can fail. */
final class Failures {
  static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  private Failures() {}

  /** A status as of a proxy, or of a connection that was lost. */
  static Failure bare(Status status) {
    return Failure.of(status, null);
  }

  static Failure bare(Status status, String pushback) {
    Metadata trailers = new Metadata();
    trailers.put(PUSHBACK, pushback);
    return Failure.of(status, trailers);
  }

  /** A status of the gateway's. */
  static Failure told(Status status, String reason, String effect) {
    return Failure.of(status, trailers(reason, effect, null, null));
  }

  /** The same, with when to come back: in milliseconds, by the details and by the trailer. */
  static Failure told(Status status, String reason, String effect, Long millis, String pushback) {
    return Failure.of(status, trailers(reason, effect, millis, pushback));
  }

  static Metadata trailers(String reason, String effect, Long millis, String pushback) {
    ErrorInfo.Builder info = ErrorInfo.newBuilder().setDomain("allocation.v1").setReason(reason);
    if (!effect.isEmpty()) {
      info.putMetadata("effect", effect);
    }
    com.google.rpc.Status.Builder status = com.google.rpc.Status.newBuilder().addDetails(Any.pack(info.build()));
    if (millis != null) {
      int nanos = (int) (millis % 1000) * 1_000_000;
      Duration delay = Duration.newBuilder().setSeconds(millis / 1000).setNanos(nanos).build();
      status.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
    }
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, status.build().toByteArray());
    if (pushback != null) {
      trailers.put(PUSHBACK, pushback);
    }
    return trailers;
  }
}

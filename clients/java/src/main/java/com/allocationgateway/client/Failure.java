package com.allocationgateway.client;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Pattern;

/** How an attempt failed. */
final class Failure {
  static final String EFFECT_UNKNOWN = "unknown";
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
  // No pause is longer, and what is longer could not be counted in nanoseconds.
  private static final Pattern MILLIS = Pattern.compile("\\d{1,9}");
  private static final long NANOS_OF_MILLI = 1_000_000;

  private final ErrorDetails details;
  private final String pushback;

  private Failure(ErrorDetails details, String pushback) {
    this.details = details;
    this.pushback = pushback;
  }

  /** Returns what a status tells that is a part of a message. */
  static Failure of(com.google.rpc.Status status) {
    return new Failure(ErrorDetails.of(status), null);
  }

  /** Returns what the end of a call tells. */
  static Failure of(Status status, Metadata trailers) {
    com.google.rpc.Status.Builder told = com.google.rpc.Status.newBuilder();
    byte[] packed = trailers == null ? null : trailers.get(DETAILS);
    if (packed != null) {
      try {
        told.mergeFrom(packed);
      } catch (InvalidProtocolBufferException unreadable) {
        told.clear();
      }
    }
    // What the call itself says counts.
    told.setCode(status.getCode().value()).setMessage(Optional.ofNullable(status.getDescription()).orElse(""));
    return new Failure(ErrorDetails.of(told.build()), trailers == null ? null : trailers.get(PUSHBACK));
  }

  /** Returns how an attempt failed that threw this; nothing if it is no exception of gRPC's. */
  static Optional<Failure> of(Throwable thrown) {
    if (thrown instanceof StatusRuntimeException) {
      StatusRuntimeException error = (StatusRuntimeException) thrown;
      return Optional.of(of(error.getStatus(), error.getTrailers()));
    }
    if (thrown instanceof StatusException) {
      StatusException error = (StatusException) thrown;
      return Optional.of(of(error.getStatus(), error.getTrailers()));
    }
    return Optional.empty();
  }

  ErrorDetails details() {
    return details;
  }

  Status.Code code() {
    return details.getCode();
  }

  /** Returns whether the gateway itself has said so, rather than a proxy, a lost connection or a time-out. */
  boolean isOfGateway() {
    return details.isOfGateway();
  }

  /** Returns whether the peer does not want the call repeated. What cannot be read means that too, as gRPC has it. */
  boolean forbidsRepetition() {
    return pushback != null && !MILLIS.matcher(pushback).matches();
  }

  /** Returns how long to wait before the call is repeated, at least; nothing if that was not said. */
  OptionalLong pauseNanos() {
    if (details.getRetryAfter().isPresent()) {
      return OptionalLong.of(details.getRetryAfter().get().toNanos());
    }
    if (pushback == null || forbidsRepetition()) {
      return OptionalLong.empty();
    }
    return OptionalLong.of(Long.parseLong(pushback) * NANOS_OF_MILLI);
  }
}

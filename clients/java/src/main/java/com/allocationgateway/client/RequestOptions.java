package com.allocationgateway.client;

import io.grpc.Metadata;
import java.time.Duration;
import java.util.Optional;

/** What may be said of a single call. Immutable. */
public final class RequestOptions {
  /** Nothing: all is as the client has it. */
  public static final RequestOptions DEFAULT = new RequestOptions(null, new Metadata());

  private final Duration timeout;
  private final Metadata metadata;

  private RequestOptions(Duration timeout, Metadata metadata) {
    this.timeout = timeout;
    this.metadata = metadata;
  }

  /**
   * Returns these options with a time that the call may take with all its repetitions, instead of that of the client.
   *
   * @throws IllegalArgumentException it is not more than zero, or more than a year
   */
  public RequestOptions withTimeout(Duration timeout) {
    return new RequestOptions(Timeouts.checked(timeout), metadata);
  }

  /**
   * Returns these options with metadata to be sent besides that of the client.
   *
   * @throws IllegalArgumentException the name or the value cannot be sent
   */
  public RequestOptions withMetadata(String name, String value) {
    Metadata more = Headers.copy(metadata);
    Headers.add(more, name, value);
    return new RequestOptions(timeout, more);
  }

  /**
   * Returns these options with the account that the call is for, where the gateway has several. If it is empty, the gateway
   * chooses: {@code withAccount(exception.getAccount())} has a call repeated for the account of an exception.
   *
   * @throws IllegalArgumentException it cannot be sent
   */
  public RequestOptions withAccount(String account) {
    Metadata more = Headers.copy(metadata);
    Headers.setAccount(more, account);
    return new RequestOptions(timeout, more);
  }

  Optional<Duration> timeout() {
    return Optional.ofNullable(timeout);
  }

  Metadata metadata() {
    return metadata;
  }
}

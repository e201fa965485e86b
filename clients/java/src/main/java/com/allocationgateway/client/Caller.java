package com.allocationgateway.client;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Makes logical calls out of attempts.
 *
 * <p>It repeats reads itself, so that they have one budget with writes, and are repeated also if their answer is lost
 * half-way.
 */
final class Caller {
  // gRPC for Java alone would come back to a gateway that was restarted after up to two minutes.
  private static final long RECONNECT_NANOS = 1_000_000_000;

  private final ManagedChannel channel;
  private final Map<String, Rpc> rpcs;
  private final Budget budget;
  private final long timeout;
  private final Metadata metadata;
  private final TokenFile token;
  private final Set<Runnable> underWay = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;
  private final AtomicLong reconnectedAt = new AtomicLong(System.nanoTime() - RECONNECT_NANOS);

  /**
   * Makes ready to call.
   *
   * @param timeout how long a call may take that does not say so itself
   * @param metadata sent with each call
   * @param token null for none
   */
  Caller(
      ManagedChannel channel,
      Map<String, Rpc> rpcs,
      Budget budget,
      Duration timeout,
      Metadata metadata,
      TokenFile token) {
    this.channel = channel;
    this.rpcs = rpcs;
    this.budget = budget;
    this.timeout = timeout.toNanos();
    this.metadata = metadata;
    this.token = token;
  }

  /** Calls an rpc, and waits for its answer. */
  @SuppressWarnings("unchecked")
  <Q extends Message, R extends Message> R call(MethodDescriptor<Q, R> method, Q request, RequestOptions options) {
    return (R) invocation(rpcs.get(method.getFullMethodName()), request, options).await();
  }

  /** Calls an rpc. */
  @SuppressWarnings("unchecked")
  <Q extends Message, R extends Message> CompletableFuture<R> callAsync(
      MethodDescriptor<Q, R> method, Q request, RequestOptions options) {
    Invocation made = invocation(rpcs.get(method.getFullMethodName()), request, options);
    return (CompletableFuture<R>) made.start();
  }

  /**
   * Calls the rpc that has this type of request, and waits for its answer.
   *
   * @throws IllegalArgumentException there is none
   */
  Message call(Message request, RequestOptions options) {
    for (Rpc rpc : rpcs.values()) {
      if (rpc.requestPrototype.getClass() == request.getClass()) {
        return invocation(rpc, request, options).await();
      }
    }
    throw new IllegalArgumentException(
        request.getDescriptorForType().getFullName() + " is not the request of an rpc that has one response");
  }

  /** Begins the attempts of a call that lasts. */
  Attempts lasting(Duration all) {
    long limit = withinContext(all.toNanos());
    return new Attempts(limit, limit, Repetition.WRITES, budget);
  }

  /** Opens a call of gRPC's. */
  <Q, R> ClientCall<Q, R> open(MethodDescriptor<Q, R> method, Metadata own, long nanos) {
    Metadata sent = Headers.joined(metadata, own);
    if (token != null) {
      Headers.authorize(sent, token);
    }
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(nanos, TimeUnit.NANOSECONDS);
    Channel carrying = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(sent));
    return carrying.newCall(method, options);
  }

  /** Returns the account that a call is for; empty if none is named. */
  String accountOf(Metadata own) {
    return Headers.accountOf(Headers.joined(metadata, own));
  }

  /** Counts that a call has succeeded. */
  void earn() {
    budget.earn();
  }

  /** Has the next attempt connect at once if gRPC would wait before it does, but at most once a second. */
  void reconnectAfter(Failure failure) {
    long now = System.nanoTime();
    long before = reconnectedAt.get();
    if (failure.code() == Status.Code.UNAVAILABLE
        && !failure.isOfGateway()
        && now - before >= RECONNECT_NANOS
        && reconnectedAt.compareAndSet(before, now)) {
      channel.resetConnectBackoff();
    }
  }

  /** Has something called when the client is closed, until it is removed. */
  void onClose(Runnable end) {
    underWay.add(end);
    if (isClosed()) {
      end.run();
    }
  }

  void removeOnClose(Runnable end) {
    underWay.remove(end);
  }

  boolean isClosed() {
    return closed;
  }

  /** Waits, but no longer than the client lives, or until a context is cancelled. */
  void pause(long nanos, Context context) throws InterruptedException {
    CountDownLatch ended = new CountDownLatch(1);
    Runnable onClientClosed = ended::countDown;
    Context.CancellationListener onCancelled = cancelled -> ended.countDown();
    onClose(onClientClosed);
    context.addListener(onCancelled, Runnable::run);
    try {
      ended.await(nanos, TimeUnit.NANOSECONDS);
    } finally {
      context.removeListener(onCancelled);
      removeOnClose(onClientClosed);
    }
  }

  /** Ends the calls that are under way, and makes no more. */
  void close() {
    closed = true;
    channel.shutdownNow();
    underWay.forEach(Runnable::run);
  }

  /** Returns the exception of what is asked of a closed client. */
  static IllegalStateException closedException() {
    return new IllegalStateException("The client is closed");
  }

  private Invocation invocation(Rpc rpc, Message request, RequestOptions options) {
    if (isClosed()) {
      throw closedException();
    }
    long limit = rpc.isWrite ? timeout : Math.min(rpc.timeout, timeout);
    long all = withinContext(options.timeout().map(Duration::toNanos).orElse(limit));
    Attempts attempts = new Attempts(all, rpc.isWrite ? rpc.timeout : all, rpc.repetition, budget);
    Message named = rpc.named(request);
    return new Invocation(this, rpc, named, options.metadata(), attempts);
  }

  private static long withinContext(long nanos) {
    Deadline deadline = Context.current().getDeadline();
    return deadline == null ? nanos : Math.min(nanos, deadline.timeRemaining(TimeUnit.NANOSECONDS));
  }
}

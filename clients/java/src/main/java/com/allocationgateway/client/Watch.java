package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.Price;
import com.google.protobuf.Message;
import io.grpc.ClientCall;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/**
 * How some references stand, and each change, until all are final. Those that are not are told anew after a stream was
 * lost.
 *
 * @param <Q> the request
 * @param <R> the messages that are received
 * @param <A> the allocation of one
 */
final class Watch<Q extends Message, R, A> extends Lasting<Q, R, Standing<A>> {
  private final Kind<Q, R, A> kind;
  private final Set<String> left;
  // Each call tells at first how all stand that are not final: only what comes after that shows that it has come on.
  private final Set<String> known = new HashSet<>();

  Watch(Caller caller, Kind<Q, R, A> kind, Collection<String> references, Duration timeout, RequestOptions options) {
    super(caller, kind.method, options.metadata(), Timeouts.checked(timeout));
    this.kind = kind;
    left = new LinkedHashSet<>(references);
  }

  /** What watching shipments and consignments does not have in common. */
  static final class Kind<Q, R, A> {
    final MethodDescriptor<Q, R> method;
    final Function<Collection<String>, Q> requestOf;
    final Function<R, List<Told<A>>> standingsOf;
    // The request that reads one.
    final Function<String, Message> callOf;

    Kind(
        MethodDescriptor<Q, R> method,
        Function<Collection<String>, Q> requestOf,
        Function<R, List<Told<A>>> standingsOf,
        Function<String, Message> callOf) {
      this.method = method;
      this.requestOf = requestOf;
      this.standingsOf = standingsOf;
      this.callOf = callOf;
    }
  }

  /** How one stands, as it was told. */
  static final class Told<A> {
    final String reference;
    final A allocation;
    final Price price;
    final com.google.rpc.Status error;
    final boolean isFinal;

    /**
     * Takes what was told.
     *
     * @param allocation null if it could not be read
     * @param error null if it could
     */
    Told(String reference, A allocation, Price price, com.google.rpc.Status error, boolean isFinal) {
      this.reference = reference;
      this.allocation = allocation;
      this.price = price;
      this.error = error;
      this.isFinal = isFinal;
    }
  }

  @Override
  void begin(ClientCall<Q, R> opened) {
    known.clear();
    opened.sendMessage(kind.requestOf.apply(left));
    opened.halfClose();
  }

  @Override
  void proceed(ClientCall<Q, R> opened) {
    // All was sent at the beginning.
  }

  @Override
  boolean take(R message, Deque<Standing<A>> results) {
    for (Told<A> told : kind.standingsOf.apply(message)) {
      if (told.isFinal) {
        left.remove(told.reference);
      }
      if (!known.add(told.reference) || told.isFinal) {
        comeOn();
      }
      results.add(standing(told));
    }
    return false;
  }

  private Standing<A> standing(Told<A> told) {
    AllocationException error =
        told.error == null
            ? null
            : inAccount(
                AllocationException.of(ErrorDetails.of(told.error), kind.callOf.apply(told.reference), null));
    return new Standing<>(told.reference, told.allocation, told.price, error, told.isFinal);
  }

  @Override
  boolean isComplete() {
    return left.isEmpty();
  }

  @Override
  Throwable afterwards() {
    return null;
  }

  @Override
  AllocationException over(Failure failure, boolean isInDoubt, Throwable cause) {
    return AllocationException.of(failure.details(), kind.requestOf.apply(left), cause);
  }

  @Override
  void release() {
    // It has nothing.
  }
}

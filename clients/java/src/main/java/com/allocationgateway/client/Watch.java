package com.allocationgateway.client;

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
import java.util.function.Predicate;

/**
 * How some references stand, and each change, until all are final. Those that are not are told anew after a stream was
 * lost.
 *
 * @param <Q> the request
 * @param <R> the messages that are received
 * @param <T> how one stands
 */
final class Watch<Q extends Message, R, T> extends Lasting<Q, R, T> {
  private final Kind<Q, R, T> kind;
  private final Set<String> left;
  // Each call tells at first how all stand that are not final: only what comes after that shows that it has come on.
  private final Set<String> known = new HashSet<>();

  Watch(Caller caller, Kind<Q, R, T> kind, Collection<String> references, Duration timeout, RequestOptions options) {
    super(caller, kind.method, options.metadata(), Timeouts.checked(timeout));
    this.kind = kind;
    left = new LinkedHashSet<>(references);
  }

  /** What watching shipments and consignments does not have in common. */
  static final class Kind<Q, R, T> {
    final MethodDescriptor<Q, R> method;
    final Function<Collection<String>, Q> requestOf;
    final Function<R, List<T>> standingsOf;
    final Function<T, String> referenceOf;
    final Predicate<T> isFinal;

    Kind(
        MethodDescriptor<Q, R> method,
        Function<Collection<String>, Q> requestOf,
        Function<R, List<T>> standingsOf,
        Function<T, String> referenceOf,
        Predicate<T> isFinal) {
      this.method = method;
      this.requestOf = requestOf;
      this.standingsOf = standingsOf;
      this.referenceOf = referenceOf;
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
  boolean take(R message, Deque<T> results) {
    for (T standing : kind.standingsOf.apply(message)) {
      String reference = kind.referenceOf.apply(standing);
      boolean isFinal = kind.isFinal.test(standing);
      if (isFinal) {
        left.remove(reference);
      }
      if (!known.add(reference) || isFinal) {
        comeOn();
      }
      results.add(standing);
    }
    return false;
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

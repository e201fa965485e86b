package com.allocationgateway.client;

import io.grpc.Status.Code;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.function.Predicate;

/** Which failures a call is repeated after, and how. Times are in nanoseconds. */
final class Repetition {
  // What a lost connection or the attempt's own time-out can end with: then nobody has said what became of the call.
  private static final Set<Code> LOST = EnumSet.of(Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.INTERNAL);
  private static final Set<Code> REPEATED =
      EnumSet.of(Code.UNKNOWN, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED);
  private static final Duration FIRST_PAUSE = Duration.ofMillis(100);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(5);

  /** How a call with a request id is repeated. */
  static final Repetition WRITES =
      new Repetition(Integer.MAX_VALUE, FIRST_PAUSE, LONGEST_PAUSE, 2, Repetition::mayRepeatWrite);

  final int mostAttempts;
  final long firstPause;
  final long longestPause;
  final double growth;
  private final Predicate<Failure> repeated;

  private Repetition(
      int mostAttempts, Duration firstPause, Duration longestPause, double growth, Predicate<Failure> repeated) {
    this.mostAttempts = mostAttempts;
    this.firstPause = firstPause.toNanos();
    this.longestPause = longestPause.toNanos();
    this.growth = growth;
    this.repeated = repeated;
  }

  /** How a call without one is repeated: as the service configuration says, or never if that says nothing. */
  static Repetition ofReads(ServiceConfig.RetryPolicy policy) {
    if (policy == null) {
      return new Repetition(1, Duration.ZERO, Duration.ZERO, 1, failure -> false);
    }
    Set<String> codes = Set.copyOf(policy.retryableStatusCodes);
    return new Repetition(
        policy.maxAttempts,
        ServiceConfig.duration(policy.initialBackoff),
        ServiceConfig.duration(policy.maxBackoff),
        policy.backoffMultiplier,
        failure -> codes.contains(failure.code().name()) && !failure.forbidsRepetition());
  }

  boolean mayRepeat(Failure failure) {
    return repeated.test(failure);
  }

  /** Returns whether who has said this, or was not heard, may have done what was asked for. */
  static boolean leavesDoubt(Failure failure) {
    return !failure.isOfGateway() && (REPEATED.contains(failure.code()) || LOST.contains(failure.code()));
  }

  private static boolean mayRepeatWrite(Failure failure) {
    if (failure.isOfGateway() && failure.code() == Code.DEADLINE_EXCEEDED) {
      // The attempt's time was up before anything was sent. There may be time for another.
      return true;
    }
    if (failure.forbidsRepetition()) {
      return false;
    }
    return REPEATED.contains(failure.code()) || leavesDoubt(failure);
  }
}

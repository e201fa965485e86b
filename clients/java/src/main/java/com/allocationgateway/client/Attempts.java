package com.allocationgateway.client;

import java.util.OptionalLong;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/**
 * The attempts of one call: whether and when there is another, and whether it is in doubt what became of it. Times are
 * in nanoseconds.
 */
final class Attempts {
  // So ends a call that lasts when the token that its caller was let in with has expired.
  private static final String EXPIRED = "CALLER_UNAUTHENTICATED";
  private static final long NANOS_OF_MILLI = 1_000_000;
  // Callers that were told the same do not come back at the same moment.
  private static final double SPREAD = 0.25;
  private static final long MOST_SPREAD = 1000 * NANOS_OF_MILLI;
  // An attempt needs some time to be worth its while.
  private static final long SHORTEST_ATTEMPT = 20 * NANOS_OF_MILLI;

  private final long attemptTimeout;
  private final Repetition repetition;
  private final Budget budget;
  private final LongSupplier now;
  private final DoubleSupplier random;
  private final long deadline;
  private long longestPause;
  private int made;
  private boolean inDoubt;
  private boolean hasComeOn;

  /**
   * Begins.
   *
   * @param timeout how long all of it may take
   * @param attemptTimeout how long an attempt may take
   */
  Attempts(long timeout, long attemptTimeout, Repetition repetition, Budget budget) {
    this(timeout, attemptTimeout, repetition, budget, System::nanoTime, () -> ThreadLocalRandom.current().nextDouble());
  }

  Attempts(
      long timeout,
      long attemptTimeout,
      Repetition repetition,
      Budget budget,
      LongSupplier now,
      DoubleSupplier random) {
    this.attemptTimeout = attemptTimeout;
    this.repetition = repetition;
    this.budget = budget;
    this.now = now;
    this.random = random;
    deadline = now.getAsLong() + timeout;
    longestPause = repetition.firstPause;
  }

  /** Returns whether an attempt may have had an effect that nothing said since speaks against. */
  boolean isInDoubt() {
    return inDoubt;
  }

  /** Returns how long the next attempt may take. */
  long timeout() {
    return Math.max(Math.min(attemptTimeout, deadline - now.getAsLong()), 0);
  }

  /** Counts that a stream has told something: its end costs nothing, and the next pause is the first one again. */
  void succeed() {
    hasComeOn = true;
    longestPause = repetition.firstPause;
  }

  /** Returns after how long to repeat the call; nothing if it is over. */
  OptionalLong pauseAfter(Failure failure) {
    return pauseAfter(failure, false);
  }

  /**
   * Returns after how long to repeat the call; nothing if it is over.
   *
   * @param wasLetIn whether it is a stream that had told something: its token was valid then, and there may be a new one
   */
  OptionalLong pauseAfter(Failure failure, boolean wasLetIn) {
    made += 1;
    learn(failure);
    boolean isExpired = wasLetIn && failure.details().getReason().equals(EXPIRED);
    if (!(repetition.mayRepeat(failure) || isExpired) || made >= repetition.mostAttempts) {
      return OptionalLong.empty();
    }
    long pause = pause(failure);
    boolean isFree = hasComeOn;
    hasComeOn = false;
    if (pause > deadline - now.getAsLong() - SHORTEST_ATTEMPT || !(isFree || budget.spend())) {
      return OptionalLong.empty();
    }
    return OptionalLong.of(pause);
  }

  /** Takes note of what a failure says of what became of the call. */
  void learn(Failure failure) {
    String effect = failure.details().getEffect();
    if (!effect.isEmpty()) {
      inDoubt = effect.equals(Failure.EFFECT_UNKNOWN);
    } else if (Repetition.leavesDoubt(failure)) {
      inDoubt = true;
    }
  }

  private long pause(Failure failure) {
    long longest = longestPause;
    longestPause = (long) Math.min(longest * repetition.growth, repetition.longestPause);
    long own = (long) (longest / 2.0 + random.getAsDouble() * longest / 2.0);
    OptionalLong told = failure.pauseNanos();
    if (told.isEmpty()) {
      return own;
    }
    // It is never shortened; but one of nothing would have the call repeated without end and without a pause.
    long least = told.getAsLong();
    return Math.max(own, least + (long) (random.getAsDouble() * Math.min(least * SPREAD, MOST_SPREAD)));
  }
}

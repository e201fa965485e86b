package com.allocationgateway.client;

import java.time.Duration;

/** How long something may take. */
final class Timeouts {
  // More would be no deadline any more. It also is small enough to be counted in nanoseconds.
  private static final Duration LONGEST = Duration.ofDays(366);

  private Timeouts() {}

  static Duration checked(Duration timeout) {
    if (timeout.isZero() || timeout.isNegative() || timeout.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException("A time-out has to be more than zero and at most a year, not " + timeout);
    }
    return timeout;
  }
}

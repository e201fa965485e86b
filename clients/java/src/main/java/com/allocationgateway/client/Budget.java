package com.allocationgateway.client;

/** What a client may spend on repetitions, as gRPC has it: none while no more than half of it is left. */
final class Budget {
  private final double most;
  private final double ratio;
  private double left;

  /**
   * Fills it.
   *
   * @param most how much there is at first and at most
   * @param ratio how much a success gives back
   */
  Budget(double most, double ratio) {
    this.most = most;
    this.ratio = ratio;
    left = most;
  }

  /** Counts a success. */
  synchronized void earn() {
    left = Math.min(left + ratio, most);
  }

  /** Counts a failure. Returns whether the call may be repeated. */
  synchronized boolean spend() {
    left = Math.max(left - 1, 0);
    return left > most / 2;
  }
}

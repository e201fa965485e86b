package com.allocationgateway.client;

/** What became of an item of a job. */
public enum OutcomeKind {
  /** It is allocated. */
  ALLOCATED,
  /**
   * Upstream has taken it in hand. That is all if no more was asked for. Else its time was over before more was known, and
   * the job begun again with the same id tells.
   */
  QUEUED,
  /**
   * It is not allocated by this job. An error that is a {@link TryAgainException} says that its time was over before it was
   * sent.
   */
  REFUSED,
  /**
   * It may have been allocated or not: its error is an {@link UnknownOutcomeException}. The job begun again with its id
   * asks.
   */
  UNKNOWN
}

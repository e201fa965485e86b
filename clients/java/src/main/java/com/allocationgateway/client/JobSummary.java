package com.allocationgateway.client;

/** How far a job has come, over all of its streams. Immutable. */
public final class JobSummary {
  private final long received;
  private final long repeated;
  private final int streams;
  private final long[] outcomes;

  /**
   * Takes the counts.
   *
   * @param outcomes by the ordinal of their kind
   */
  JobSummary(long received, long repeated, int streams, long[] outcomes) {
    this.received = received;
    this.repeated = repeated;
    this.streams = streams;
    this.outcomes = outcomes.clone();
  }

  /** Counts the items that were taken from the caller and sent. */
  public long getReceived() {
    return received;
  }

  /** Counts the items of which this became. */
  public long getCount(OutcomeKind kind) {
    return outcomes[kind.ordinal()];
  }

  /** Counts the items that are allocated. */
  public long getAllocated() {
    return getCount(OutcomeKind.ALLOCATED);
  }

  /** Counts the items that are queued upstream. */
  public long getQueued() {
    return getCount(OutcomeKind.QUEUED);
  }

  /** Counts the items that were refused. */
  public long getRefused() {
    return getCount(OutcomeKind.REFUSED);
  }

  /** Counts the items of which it is not known what became of them. */
  public long getUnknown() {
    return getCount(OutcomeKind.UNKNOWN);
  }

  /** Counts the items whose reference had no outcome yet when it came again. They have none of their own. */
  public long getRepeated() {
    return repeated;
  }

  /** Counts how often a stream was begun. */
  public int getStreams() {
    return streams;
  }

  @Override
  public String toString() {
    return String.format(
        "received %d, allocated %d, queued %d, refused %d, unknown %d, repeated %d, streams %d",
        received, getAllocated(), getQueued(), getRefused(), getUnknown(), repeated, streams);
  }
}

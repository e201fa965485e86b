package com.allocationgateway.client;

/**
 * What becomes of the items of a job, as it comes: of each once.
 *
 * @param <A> the allocation of one
 */
public interface JobStream<A> extends ResultStream<Outcome<A>> {
  /**
   * The id of the job: one that was made, if none was given. Whatever ends it, it can be begun again with that, and with
   * all of its items.
   */
  String getJobId();

  /** How far the job has come, over all of its streams. Any thread may ask. */
  JobSummary getSummary();
}

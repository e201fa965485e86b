package com.allocationgateway.client;

/**
 * What becomes of the items of a job, as it comes.
 *
 * @param <T> what is told of one
 */
public interface JobStream<T> extends ResultStream<T> {
  /**
   * The id of the job: one that was made, if none was given. Whatever ends it, it can be begun again with that, and with
   * all of its items.
   */
  String getJobId();
}

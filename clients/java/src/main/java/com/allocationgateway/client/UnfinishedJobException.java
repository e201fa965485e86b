package com.allocationgateway.client;

import com.google.protobuf.Message;
import java.util.Collection;
import java.util.List;

/**
 * A job of which the time was over, or the connection was lost for good, before every item had its outcome. Begin it
 * again with its id, for the same account: nothing is done twice, and what is known already is told again.
 */
public final class UnfinishedJobException extends AllocationException {
  private static final long serialVersionUID = 1;

  private final String jobId;

  @SuppressWarnings("serial") // it is a list that is
  private final List<String> unanswered;

  UnfinishedJobException(
      ErrorDetails details, Message request, String jobId, Collection<String> unanswered, Throwable cause) {
    super(
        details + " - " + unanswered.size() + " items have no outcome: begin again with job id " + jobId,
        details,
        request,
        cause);
    this.jobId = jobId;
    this.unanswered = List.copyOf(unanswered);
  }

  @Override
  public String getMessage() {
    return super.getMessage() + andAccount();
  }

  /** The id of the job. */
  public String getJobId() {
    return jobId;
  }

  /**
   * The references of all items that were taken from the caller's iterator and have no outcome, whether they were sent
   * or not. What was not taken yet is the caller's own. To begin the job again with all of its items does none of them
   * twice.
   */
  public List<String> getUnanswered() {
    return unanswered;
  }
}

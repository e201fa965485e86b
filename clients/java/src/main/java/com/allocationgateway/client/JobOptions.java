package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationProgress;
import com.allocationgateway.allocation.v1.AllocationSelector;
import com.allocationgateway.allocation.v1.WaitFor;
import io.grpc.Metadata;
import java.time.Duration;
import java.util.UUID;
import java.util.function.Consumer;

/** What is said of a job. Immutable. */
public final class JobOptions {
  private final Duration timeout;
  private final AllocationJob job;
  private final RequestOptions sent;
  private final Consumer<? super AllocationProgress> onProgress;
  private final Consumer<? super AllocationException> onLost;

  private JobOptions(
      Duration timeout,
      AllocationJob job,
      RequestOptions sent,
      Consumer<? super AllocationProgress> onProgress,
      Consumer<? super AllocationException> onLost) {
    this.timeout = timeout;
    this.job = job;
    this.sent = sent;
    this.onProgress = onProgress;
    this.onLost = onLost;
  }

  /**
   * Begins with how long the job may take, which only its caller knows.
   *
   * @throws IllegalArgumentException it is not more than zero, or more than a year
   */
  public static JobOptions within(Duration timeout) {
    return new JobOptions(
        Timeouts.checked(timeout),
        AllocationJob.getDefaultInstance(),
        RequestOptions.DEFAULT,
        progress -> {},
        error -> {});
  }

  /**
   * Returns these options with a UUID that names the job: that of an earlier one, to go on with it. Else one is made.
   */
  public JobOptions withJobId(String jobId) {
    return with(job.toBuilder().setJobId(jobId).build());
  }

  /** Returns these options with the selector of all items that have none of their own, instead of the default rules. */
  public JobOptions withSelector(AllocationSelector selector) {
    return with(job.toBuilder().setSelector(selector).build());
  }

  /**
   * Returns these options with the service group that all items are allocated to that have no selector of their own.
   */
  public JobOptions withServiceGroup(String serviceGroup) {
    return withSelector(AllocationSelector.newBuilder().setServiceGroup(serviceGroup).build());
  }

  /** Returns these options with when an item has its outcome, instead of when it is allocated. */
  public JobOptions withWaitFor(WaitFor waitFor) {
    return with(job.toBuilder().setWaitFor(waitFor).build());
  }

  /** Returns these options with how long an item is worked on: a second to an hour, instead of five minutes. */
  public JobOptions withItemDeadline(Duration deadline) {
    return with(
        job.toBuilder()
            .setItemDeadline(
                com.google.protobuf.Duration.newBuilder()
                    .setSeconds(deadline.getSeconds())
                    .setNanos(deadline.getNano()))
            .build());
  }

  /**
   * Returns these options with metadata to be sent besides that of the client.
   *
   * @throws IllegalArgumentException the name or the value cannot be sent
   */
  public JobOptions withMetadata(String name, String value) {
    return new JobOptions(timeout, job, sent.withMetadata(name, value), onProgress, onLost);
  }

  /**
   * Returns these options with the account that the job is for, where the gateway has several. If it is empty, the gateway
   * chooses.
   *
   * @throws IllegalArgumentException it cannot be sent
   */
  public JobOptions withAccount(String account) {
    return new JobOptions(timeout, job, sent.withAccount(account), onProgress, onLost);
  }

  /**
   * Returns these options with what is told how far the job has come, at most once a second, by the thread that goes
   * through its outcomes. It counts anew after a connection was lost.
   */
  public JobOptions withOnProgress(Consumer<? super AllocationProgress> listener) {
    return new JobOptions(timeout, job, sent, listener, onLost);
  }

  /**
   * Returns these options with what is told how a stream was lost that is about to be begun again, by the thread that goes
   * through its outcomes.
   */
  public JobOptions withOnLost(Consumer<? super AllocationException> listener) {
    return new JobOptions(timeout, job, sent, onProgress, listener);
  }

  Duration timeout() {
    return timeout;
  }

  /** The job as it is sent: it always has an id. */
  AllocationJob named() {
    return job.getJobId().isEmpty() ? job.toBuilder().setJobId(UUID.randomUUID().toString()).build() : job;
  }

  Metadata metadata() {
    return sent.metadata();
  }

  Consumer<? super AllocationProgress> onProgress() {
    return onProgress;
  }

  Consumer<? super AllocationException> onLost() {
    return onLost;
  }

  private JobOptions with(AllocationJob changed) {
    return new JobOptions(timeout, changed, sent, onProgress, onLost);
  }
}

package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateConsignmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentStreamResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentStreamResponse.ContentCase;
import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationProgress;
import com.allocationgateway.allocation.v1.ConsignmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ConsignmentItem;
import com.allocationgateway.allocation.v1.ConsignmentOutcome;
import com.allocationgateway.allocation.v1.ConsignmentStanding;
import com.allocationgateway.allocation.v1.WatchConsignmentAllocationsRequest;
import com.allocationgateway.allocation.v1.WatchConsignmentAllocationsResponse;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Collection;
import java.util.List;

/** Allocates consignments: one method for each rpc, and those of streams, which begin again by themselves. */
public final class Consignments extends ConsignmentCalls {
  private static final JobKind JOB = new JobKind();
  private static final Watch.Kind<
          WatchConsignmentAllocationsRequest, WatchConsignmentAllocationsResponse, ConsignmentStanding>
      WATCH =
          new Watch.Kind<>(
              ConsignmentAllocationServiceGrpc.getWatchConsignmentAllocationsMethod(),
              references ->
                  WatchConsignmentAllocationsRequest.newBuilder().addAllConsignmentReferences(references).build(),
              WatchConsignmentAllocationsResponse::getConsignmentsList,
              ConsignmentStanding::getConsignmentReference,
              ConsignmentStanding::getFinal);

  private final Caller caller;

  Consignments(Caller caller) {
    super(caller);
    this.caller = caller;
  }

  /**
   * Allocates any number of consignments, which may still be coming, and tells what became of each, in no order.
   *
   * <p>Lost connections and gateways that stop are gone on from under the same job id. What is told as unknown is asked
   * for with it too.
   *
   * @param items gone through once, by a thread of its own, which may wait for the next one
   * @throws IllegalStateException the client is closed
   */
  public JobStream<ConsignmentOutcome> allocateAll(Iterable<ConsignmentItem> items, JobOptions options) {
    return new Job<>(caller, JOB, items, options);
  }

  /**
   * Tells how up to 1,000 consignments stand: all of them at once, then each change, until all are final. One may be
   * told again after a connection was lost.
   *
   * @param timeout how long that may take, which only its caller knows
   * @throws IllegalArgumentException the time-out is not more than zero, or more than a year
   * @throws IllegalStateException the client is closed
   */
  public ResultStream<ConsignmentStanding> watch(Collection<String> consignmentReferences, Duration timeout) {
    return watch(consignmentReferences, timeout, RequestOptions.DEFAULT);
  }

  /**
   * The same, with metadata.
   *
   * @param options their time-out, if they have one, counts for nothing
   */
  public ResultStream<ConsignmentStanding> watch(
      Collection<String> consignmentReferences, Duration timeout, RequestOptions options) {
    return new Watch<>(caller, WATCH, consignmentReferences, timeout, options);
  }

  private static final class JobKind
      implements Job.Kind<
          AllocateConsignmentStreamRequest, AllocateConsignmentStreamResponse, ConsignmentItem, ConsignmentOutcome> {
    @Override
    public MethodDescriptor<AllocateConsignmentStreamRequest, AllocateConsignmentStreamResponse> method() {
      return ConsignmentAllocationServiceGrpc.getAllocateConsignmentStreamMethod();
    }

    @Override
    public AllocateConsignmentStreamRequest begin(AllocationJob job) {
      return AllocateConsignmentStreamRequest.newBuilder().setJob(job).build();
    }

    @Override
    public AllocateConsignmentStreamRequest items(List<ConsignmentItem> some) {
      return AllocateConsignmentStreamRequest.newBuilder().addAllItems(some).build();
    }

    @Override
    public String referenceOfItem(ConsignmentItem item) {
      return item.getConsignmentReference();
    }

    @Override
    public String referenceOf(ConsignmentOutcome outcome) {
      return outcome.getConsignmentReference();
    }

    @Override
    public List<ConsignmentOutcome> outcomes(AllocateConsignmentStreamResponse message) {
      return message.getResults().getResultsList();
    }

    @Override
    public boolean isJob(AllocateConsignmentStreamResponse message) {
      return message.getContentCase() == ContentCase.JOB;
    }

    @Override
    public boolean isSummary(AllocateConsignmentStreamResponse message) {
      return message.getContentCase() == ContentCase.SUMMARY;
    }

    @Override
    public com.google.rpc.Status refusal(AllocateConsignmentStreamResponse message) {
      return message.getContentCase() == ContentCase.REFUSED ? message.getRefused().getStatus() : null;
    }

    @Override
    public AllocationProgress progress(AllocateConsignmentStreamResponse message) {
      return message.getContentCase() == ContentCase.PROGRESS ? message.getProgress() : null;
    }
  }
}

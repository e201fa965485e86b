package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateConsignmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentStreamResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentStreamResponse.ContentCase;
import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationProgress;
import com.allocationgateway.allocation.v1.AllocationSelector;
import com.allocationgateway.allocation.v1.ConsignmentAllocation;
import com.allocationgateway.allocation.v1.ConsignmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ConsignmentItem;
import com.allocationgateway.allocation.v1.ConsignmentOutcome;
import com.allocationgateway.allocation.v1.ConsignmentStanding;
import com.allocationgateway.allocation.v1.GetConsignmentAllocationRequest;
import com.allocationgateway.allocation.v1.WatchConsignmentAllocationsRequest;
import com.allocationgateway.allocation.v1.WatchConsignmentAllocationsResponse;
import com.google.protobuf.Message;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;

/** Allocates consignments: one method for each rpc, and those of streams, which begin again by themselves. */
public final class Consignments extends ConsignmentCalls {
  private static final JobKind JOB = new JobKind();
  private static final Watch.Kind<WatchConsignmentAllocationsRequest, WatchConsignmentAllocationsResponse, ConsignmentAllocation> WATCH =
      new Watch.Kind<>(
          ConsignmentAllocationServiceGrpc.getWatchConsignmentAllocationsMethod(),
          references ->
              WatchConsignmentAllocationsRequest.newBuilder().addAllConsignmentReferences(references).build(),
          response ->
              response.getConsignmentsList().stream().map(Consignments::told).collect(Collectors.toList()),
          reference -> GetConsignmentAllocationRequest.newBuilder().setConsignmentReference(reference).build());

  private final Caller caller;

  Consignments(Caller caller) {
    super(caller);
    this.caller = caller;
  }

  /**
   * Allocates any number of consignments, which may still be coming, and tells what became of each, in no order and once.
   *
   * <p>Lost connections and gateways that stop are gone on from under the same job id. What is told as unknown is asked
   * for with it too.
   *
   * @param items gone through once, by a thread of its own, which may wait for the next one; it is interrupted when the job
   *     is over
   * @throws IllegalStateException the client is closed
   */
  public JobStream<ConsignmentAllocation> allocateAll(Iterable<ConsignmentItem> items, JobOptions options) {
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
  public ResultStream<Standing<ConsignmentAllocation>> watch(Collection<String> consignmentReferences, Duration timeout) {
    return watch(consignmentReferences, timeout, RequestOptions.DEFAULT);
  }

  /**
   * The same, with metadata.
   *
   * @param options their time-out, if they have one, counts for nothing
   */
  public ResultStream<Standing<ConsignmentAllocation>> watch(
      Collection<String> consignmentReferences, Duration timeout, RequestOptions options) {
    return new Watch<>(caller, WATCH, consignmentReferences, timeout, options);
  }

  private static Watch.Told<ConsignmentAllocation> told(ConsignmentStanding one) {
    return new Watch.Told<>(
        one.getConsignmentReference(),
        one.hasAllocation() ? one.getAllocation() : null,
        one.getAllocation().getPrice(),
        one.hasError() ? one.getError() : null,
        one.getFinal());
  }

  private static final class JobKind
      implements Job.Kind<
          AllocateConsignmentStreamRequest, AllocateConsignmentStreamResponse, ConsignmentItem, ConsignmentAllocation> {
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
    public AllocationSelector selectorOf(ConsignmentItem item, AllocationSelector ofJob) {
      return item.hasSelector() ? item.getSelector() : ofJob;
    }

    @Override
    public Message callOf(String reference, String requestId, AllocationSelector selector) {
      return Selected.consignment(reference, requestId, selector);
    }

    @Override
    public List<Job.Told<ConsignmentAllocation>> outcomes(AllocateConsignmentStreamResponse message) {
      return message.getResults().getResultsList().stream().map(JobKind::told).collect(Collectors.toList());
    }

    private static Job.Told<ConsignmentAllocation> told(ConsignmentOutcome one) {
      OutcomeKind kind = OutcomeKind.UNKNOWN;
      com.google.rpc.Status why = one.getUnknown();
      switch (one.getOutcomeCase()) {
        case ALLOCATION:
          kind = OutcomeKind.ALLOCATED;
          why = null;
          break;
        case QUEUED:
          kind = OutcomeKind.QUEUED;
          why = null;
          break;
        case REFUSAL:
          kind = OutcomeKind.REFUSED;
          why = one.getRefusal();
          break;
        default:
          // What a newer gateway may tell is not known either.
          break;
      }
      return new Job.Told<>(
          one.getConsignmentReference(),
          one.getRequestId(),
          kind,
          one.hasAllocation() ? one.getAllocation() : null,
          one.getAllocation().getPrice(),
          why);
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

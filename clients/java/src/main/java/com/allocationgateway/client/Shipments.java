package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateShipmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentStreamResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentStreamResponse.ContentCase;
import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationProgress;
import com.allocationgateway.allocation.v1.AllocationSelector;
import com.allocationgateway.allocation.v1.GetShipmentAllocationRequest;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ShipmentItem;
import com.allocationgateway.allocation.v1.ShipmentOutcome;
import com.allocationgateway.allocation.v1.ShipmentStanding;
import com.allocationgateway.allocation.v1.WatchShipmentAllocationsRequest;
import com.allocationgateway.allocation.v1.WatchShipmentAllocationsResponse;
import com.google.protobuf.Message;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;

/** Allocates shipments: one method for each rpc, and those of streams, which begin again by themselves. */
public final class Shipments extends ShipmentCalls {
  private static final JobKind JOB = new JobKind();
  private static final Watch.Kind<WatchShipmentAllocationsRequest, WatchShipmentAllocationsResponse, Allocation> WATCH =
      new Watch.Kind<>(
          ShipmentAllocationServiceGrpc.getWatchShipmentAllocationsMethod(),
          references ->
              WatchShipmentAllocationsRequest.newBuilder().addAllShipmentReferences(references).build(),
          response ->
              response.getShipmentsList().stream().map(Shipments::told).collect(Collectors.toList()),
          reference -> GetShipmentAllocationRequest.newBuilder().setShipmentReference(reference).build());

  private final Caller caller;

  Shipments(Caller caller) {
    super(caller);
    this.caller = caller;
  }

  /**
   * Allocates any number of shipments, which may still be coming, and tells what became of each, in no order and once.
   *
   * <p>Lost connections and gateways that stop are gone on from under the same job id. What is told as unknown is asked
   * for with it too.
   *
   * @param items gone through once, by a thread of its own, which may wait for the next one; it is interrupted when the job
   *     is over
   * @throws IllegalStateException the client is closed
   */
  public JobStream<Allocation> allocateAll(Iterable<ShipmentItem> items, JobOptions options) {
    return new Job<>(caller, JOB, items, options);
  }

  /**
   * Tells how up to 1,000 shipments stand: all of them at once, then each change, until all are final. One may be told
   * again after a connection was lost.
   *
   * @param timeout how long that may take, which only its caller knows
   * @throws IllegalArgumentException the time-out is not more than zero, or more than a year
   * @throws IllegalStateException the client is closed
   */
  public ResultStream<Standing<Allocation>> watch(Collection<String> shipmentReferences, Duration timeout) {
    return watch(shipmentReferences, timeout, RequestOptions.DEFAULT);
  }

  /**
   * The same, with metadata.
   *
   * @param options their time-out, if they have one, counts for nothing
   */
  public ResultStream<Standing<Allocation>> watch(
      Collection<String> shipmentReferences, Duration timeout, RequestOptions options) {
    return new Watch<>(caller, WATCH, shipmentReferences, timeout, options);
  }

  private static Watch.Told<Allocation> told(ShipmentStanding one) {
    return new Watch.Told<>(
        one.getShipmentReference(),
        one.hasAllocation() ? one.getAllocation() : null,
        one.getAllocation().getPrice(),
        one.hasError() ? one.getError() : null,
        one.getFinal());
  }

  private static final class JobKind
      implements Job.Kind<
          AllocateShipmentStreamRequest, AllocateShipmentStreamResponse, ShipmentItem, Allocation> {
    @Override
    public MethodDescriptor<AllocateShipmentStreamRequest, AllocateShipmentStreamResponse> method() {
      return ShipmentAllocationServiceGrpc.getAllocateShipmentStreamMethod();
    }

    @Override
    public AllocateShipmentStreamRequest begin(AllocationJob job) {
      return AllocateShipmentStreamRequest.newBuilder().setJob(job).build();
    }

    @Override
    public AllocateShipmentStreamRequest items(List<ShipmentItem> some) {
      return AllocateShipmentStreamRequest.newBuilder().addAllItems(some).build();
    }

    @Override
    public String referenceOfItem(ShipmentItem item) {
      return item.getShipmentReference();
    }

    @Override
    public AllocationSelector selectorOf(ShipmentItem item, AllocationSelector ofJob) {
      return item.hasSelector() ? item.getSelector() : ofJob;
    }

    @Override
    public Message callOf(String reference, String requestId, AllocationSelector selector) {
      return Selected.shipment(reference, requestId, selector);
    }

    @Override
    public List<Job.Told<Allocation>> outcomes(AllocateShipmentStreamResponse message) {
      return message.getResults().getResultsList().stream().map(JobKind::told).collect(Collectors.toList());
    }

    private static Job.Told<Allocation> told(ShipmentOutcome one) {
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
          one.getShipmentReference(),
          one.getRequestId(),
          kind,
          one.hasAllocation() ? one.getAllocation() : null,
          one.getAllocation().getPrice(),
          why);
    }

    @Override
    public boolean isJob(AllocateShipmentStreamResponse message) {
      return message.getContentCase() == ContentCase.JOB;
    }

    @Override
    public boolean isSummary(AllocateShipmentStreamResponse message) {
      return message.getContentCase() == ContentCase.SUMMARY;
    }

    @Override
    public com.google.rpc.Status refusal(AllocateShipmentStreamResponse message) {
      return message.getContentCase() == ContentCase.REFUSED ? message.getRefused().getStatus() : null;
    }

    @Override
    public AllocationProgress progress(AllocateShipmentStreamResponse message) {
      return message.getContentCase() == ContentCase.PROGRESS ? message.getProgress() : null;
    }
  }
}

package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateShipmentRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentWithCarrierServiceRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentWithCarrierServiceResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentWithQuoteRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentWithQuoteResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentWithServiceGroupResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentWithVirtualServiceRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentWithVirtualServiceResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentsRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithCarrierServiceRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithCarrierServiceResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithFiltersRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithFiltersResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithServiceGroupResponse;
import com.allocationgateway.allocation.v1.CreateShipmentQuotesRequest;
import com.allocationgateway.allocation.v1.CreateShipmentQuotesResponse;
import com.allocationgateway.allocation.v1.DeallocateShipmentRequest;
import com.allocationgateway.allocation.v1.DeallocateShipmentResponse;
import com.allocationgateway.allocation.v1.GetShipmentAllocationRequest;
import com.allocationgateway.allocation.v1.GetShipmentAllocationResponse;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc;
import java.util.concurrent.CompletableFuture;

/** The rpcs as methods. Generated from the contract by protos/java_methods.py: do not edit. */
public class ShipmentCalls {
  private final Caller caller;

  ShipmentCalls(Caller caller) {
    this.caller = caller;
  }

  /**
   * Allocates a shipment to the cheapest eligible carrier service under the customer's default rules. Upstream
   * answers at once: the allocation is in the answer. Where upstream only takes the request in hand, the shipment is
   * read until it is allocated.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentResponse allocateShipment(
      AllocateShipmentRequest request) {
    return allocateShipment(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentResponse allocateShipment(
      AllocateShipmentRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipment(AllocateShipmentRequest)
   */
  public final CompletableFuture<AllocateShipmentResponse> allocateShipmentAsync(
      AllocateShipmentRequest request) {
    return allocateShipmentAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentResponse> allocateShipmentAsync(
      AllocateShipmentRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentMethod(), request, options);
  }

  /**
   * Allocates a shipment to the cheapest eligible carrier service of one service group. Upstream answers at once: the
   * allocation is in the answer. Where upstream only takes the request in hand, the shipment is read until it is
   * allocated.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithServiceGroupResponse allocateShipmentWithServiceGroup(
      AllocateShipmentWithServiceGroupRequest request) {
    return allocateShipmentWithServiceGroup(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithServiceGroupResponse allocateShipmentWithServiceGroup(
      AllocateShipmentWithServiceGroupRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithServiceGroupMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentWithServiceGroup(AllocateShipmentWithServiceGroupRequest)
   */
  public final CompletableFuture<AllocateShipmentWithServiceGroupResponse> allocateShipmentWithServiceGroupAsync(
      AllocateShipmentWithServiceGroupRequest request) {
    return allocateShipmentWithServiceGroupAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentWithServiceGroupResponse> allocateShipmentWithServiceGroupAsync(
      AllocateShipmentWithServiceGroupRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithServiceGroupMethod(), request, options);
  }

  /**
   * Allocates a shipment to the cheapest option of one carrier service. The customer's rules still apply. Upstream
   * answers at once: the allocation is in the answer. Where upstream only takes the request in hand, the shipment is
   * read until it is allocated.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithCarrierServiceResponse allocateShipmentWithCarrierService(
      AllocateShipmentWithCarrierServiceRequest request) {
    return allocateShipmentWithCarrierService(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithCarrierServiceResponse allocateShipmentWithCarrierService(
      AllocateShipmentWithCarrierServiceRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithCarrierServiceMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentWithCarrierService(AllocateShipmentWithCarrierServiceRequest)
   */
  public final CompletableFuture<AllocateShipmentWithCarrierServiceResponse> allocateShipmentWithCarrierServiceAsync(
      AllocateShipmentWithCarrierServiceRequest request) {
    return allocateShipmentWithCarrierServiceAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentWithCarrierServiceResponse> allocateShipmentWithCarrierServiceAsync(
      AllocateShipmentWithCarrierServiceRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithCarrierServiceMethod(), request, options);
  }

  /**
   * Allocates a shipment by a reference that is either that of a carrier service or that of a service group. One that
   * is both is INVALID_ARGUMENT. Upstream answers at once: the allocation is in the answer. Where upstream only takes
   * the request in hand, the shipment is read until it is allocated. The sources disagree on whether upstream still
   * offers this operation, so the setting <code>SHIP_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithVirtualServiceResponse allocateShipmentWithVirtualService(
      AllocateShipmentWithVirtualServiceRequest request) {
    return allocateShipmentWithVirtualService(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithVirtualServiceResponse allocateShipmentWithVirtualService(
      AllocateShipmentWithVirtualServiceRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithVirtualServiceMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentWithVirtualService(AllocateShipmentWithVirtualServiceRequest)
   */
  public final CompletableFuture<AllocateShipmentWithVirtualServiceResponse> allocateShipmentWithVirtualServiceAsync(
      AllocateShipmentWithVirtualServiceRequest request) {
    return allocateShipmentWithVirtualServiceAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentWithVirtualServiceResponse> allocateShipmentWithVirtualServiceAsync(
      AllocateShipmentWithVirtualServiceRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithVirtualServiceMethod(), request, options);
  }

  /**
   * Allocates a shipment to the carrier service of a quote that was made for it and has not expired. Upstream answers
   * at once: the allocation is in the answer. Where upstream only takes the request in hand, the shipment is read
   * until it is allocated. The sources disagree on whether upstream still offers this operation, so the setting
   * <code>SHIP_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithQuoteResponse allocateShipmentWithQuote(
      AllocateShipmentWithQuoteRequest request) {
    return allocateShipmentWithQuote(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentWithQuoteResponse allocateShipmentWithQuote(
      AllocateShipmentWithQuoteRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithQuoteMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentWithQuote(AllocateShipmentWithQuoteRequest)
   */
  public final CompletableFuture<AllocateShipmentWithQuoteResponse> allocateShipmentWithQuoteAsync(
      AllocateShipmentWithQuoteRequest request) {
    return allocateShipmentWithQuoteAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentWithQuoteResponse> allocateShipmentWithQuoteAsync(
      AllocateShipmentWithQuoteRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentWithQuoteMethod(), request, options);
  }

  /**
   * Queues shipments for allocation under the customer's default rules. Upstream only queues: OK means that upstream
   * took the request in hand, not that any shipment is allocated: <code>queued</code>, <code>rejected</code> and
   * <code>unaccounted</code> say what is known of each. Read each of them with GetShipmentAllocation to learn what
   * became of it. The sources disagree on whether upstream still offers this operation, so the setting
   * <code>SHIP_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsResponse allocateShipments(
      AllocateShipmentsRequest request) {
    return allocateShipments(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsResponse allocateShipments(
      AllocateShipmentsRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipments(AllocateShipmentsRequest)
   */
  public final CompletableFuture<AllocateShipmentsResponse> allocateShipmentsAsync(
      AllocateShipmentsRequest request) {
    return allocateShipmentsAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentsResponse> allocateShipmentsAsync(
      AllocateShipmentsRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsMethod(), request, options);
  }

  /**
   * Queues shipments for allocation within one service group. Upstream only queues: OK means that upstream took the
   * request in hand, not that any shipment is allocated: <code>queued</code>, <code>rejected</code> and
   * <code>unaccounted</code> say what is known of each. Read each of them with GetShipmentAllocation to learn what
   * became of it.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsWithServiceGroupResponse allocateShipmentsWithServiceGroup(
      AllocateShipmentsWithServiceGroupRequest request) {
    return allocateShipmentsWithServiceGroup(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsWithServiceGroupResponse allocateShipmentsWithServiceGroup(
      AllocateShipmentsWithServiceGroupRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsWithServiceGroupMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentsWithServiceGroup(AllocateShipmentsWithServiceGroupRequest)
   */
  public final CompletableFuture<AllocateShipmentsWithServiceGroupResponse> allocateShipmentsWithServiceGroupAsync(
      AllocateShipmentsWithServiceGroupRequest request) {
    return allocateShipmentsWithServiceGroupAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentsWithServiceGroupResponse> allocateShipmentsWithServiceGroupAsync(
      AllocateShipmentsWithServiceGroupRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsWithServiceGroupMethod(), request, options);
  }

  /**
   * Queues shipments for allocation to one carrier service. Upstream only queues: OK means that upstream took the
   * request in hand, not that any shipment is allocated: <code>queued</code>, <code>rejected</code> and
   * <code>unaccounted</code> say what is known of each. Read each of them with GetShipmentAllocation to learn what
   * became of it.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsWithCarrierServiceResponse allocateShipmentsWithCarrierService(
      AllocateShipmentsWithCarrierServiceRequest request) {
    return allocateShipmentsWithCarrierService(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsWithCarrierServiceResponse allocateShipmentsWithCarrierService(
      AllocateShipmentsWithCarrierServiceRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsWithCarrierServiceMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentsWithCarrierService(AllocateShipmentsWithCarrierServiceRequest)
   */
  public final CompletableFuture<AllocateShipmentsWithCarrierServiceResponse> allocateShipmentsWithCarrierServiceAsync(
      AllocateShipmentsWithCarrierServiceRequest request) {
    return allocateShipmentsWithCarrierServiceAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentsWithCarrierServiceResponse> allocateShipmentsWithCarrierServiceAsync(
      AllocateShipmentsWithCarrierServiceRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsWithCarrierServiceMethod(), request, options);
  }

  /**
   * Queues shipments for allocation to services that pass filters. Upstream answers with links to shipments, and does
   * not say which shipments it rejected. OK means that they were queued, not that any is allocated. The sources
   * disagree on whether upstream still offers this operation, so the setting <code>SHIP_DISABLED_OPERATIONS</code>
   * can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsWithFiltersResponse allocateShipmentsWithFilters(
      AllocateShipmentsWithFiltersRequest request) {
    return allocateShipmentsWithFilters(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateShipmentsWithFiltersResponse allocateShipmentsWithFilters(
      AllocateShipmentsWithFiltersRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsWithFiltersMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateShipmentsWithFilters(AllocateShipmentsWithFiltersRequest)
   */
  public final CompletableFuture<AllocateShipmentsWithFiltersResponse> allocateShipmentsWithFiltersAsync(
      AllocateShipmentsWithFiltersRequest request) {
    return allocateShipmentsWithFiltersAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateShipmentsWithFiltersResponse> allocateShipmentsWithFiltersAsync(
      AllocateShipmentsWithFiltersRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getAllocateShipmentsWithFiltersMethod(), request, options);
  }

  /**
   * Takes back the allocation of a shipment. The sources disagree on whether upstream still offers this operation, so
   * the setting <code>SHIP_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final DeallocateShipmentResponse deallocateShipment(
      DeallocateShipmentRequest request) {
    return deallocateShipment(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final DeallocateShipmentResponse deallocateShipment(
      DeallocateShipmentRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getDeallocateShipmentMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #deallocateShipment(DeallocateShipmentRequest)
   */
  public final CompletableFuture<DeallocateShipmentResponse> deallocateShipmentAsync(
      DeallocateShipmentRequest request) {
    return deallocateShipmentAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<DeallocateShipmentResponse> deallocateShipmentAsync(
      DeallocateShipmentRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getDeallocateShipmentMethod(), request, options);
  }

  /**
   * Reads how a shipment stands and, if it is allocated, its allocation. A shipment that is not allocated is OK, with
   * its state and no carrier.
   *
   * @throws AllocationException it failed
   */
  public final GetShipmentAllocationResponse getShipmentAllocation(
      GetShipmentAllocationRequest request) {
    return getShipmentAllocation(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final GetShipmentAllocationResponse getShipmentAllocation(
      GetShipmentAllocationRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getGetShipmentAllocationMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #getShipmentAllocation(GetShipmentAllocationRequest)
   */
  public final CompletableFuture<GetShipmentAllocationResponse> getShipmentAllocationAsync(
      GetShipmentAllocationRequest request) {
    return getShipmentAllocationAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<GetShipmentAllocationResponse> getShipmentAllocationAsync(
      GetShipmentAllocationRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getGetShipmentAllocationMethod(), request, options);
  }

  /**
   * Asks for what the eligible carrier services would charge for a shipment. It books nothing.
   *
   * @throws AllocationException it failed
   */
  public final CreateShipmentQuotesResponse createShipmentQuotes(
      CreateShipmentQuotesRequest request) {
    return createShipmentQuotes(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final CreateShipmentQuotesResponse createShipmentQuotes(
      CreateShipmentQuotesRequest request, RequestOptions options) {
    return caller.call(
        ShipmentAllocationServiceGrpc.getCreateShipmentQuotesMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #createShipmentQuotes(CreateShipmentQuotesRequest)
   */
  public final CompletableFuture<CreateShipmentQuotesResponse> createShipmentQuotesAsync(
      CreateShipmentQuotesRequest request) {
    return createShipmentQuotesAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<CreateShipmentQuotesResponse> createShipmentQuotesAsync(
      CreateShipmentQuotesRequest request, RequestOptions options) {
    return caller.callAsync(
        ShipmentAllocationServiceGrpc.getCreateShipmentQuotesMethod(), request, options);
  }
}

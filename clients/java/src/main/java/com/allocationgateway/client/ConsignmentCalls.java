package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateConsignmentRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentWithLabelsRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentWithLabelsResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentWithQuoteRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentWithQuoteResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentWithServiceGroupResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentsRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentsResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithCarrierServiceRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithCarrierServiceResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithServiceFiltersRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithServiceFiltersResponse;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithServiceGroupResponse;
import com.allocationgateway.allocation.v1.ConsignmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.DeallocateConsignmentRequest;
import com.allocationgateway.allocation.v1.DeallocateConsignmentResponse;
import com.allocationgateway.allocation.v1.DeallocateConsignmentsRequest;
import com.allocationgateway.allocation.v1.DeallocateConsignmentsResponse;
import com.allocationgateway.allocation.v1.GetConsignmentAllocationRequest;
import com.allocationgateway.allocation.v1.GetConsignmentAllocationResponse;
import com.allocationgateway.allocation.v1.GetConsignmentQuotesRequest;
import com.allocationgateway.allocation.v1.GetConsignmentQuotesResponse;
import java.util.concurrent.CompletableFuture;

/** The rpcs as methods. Generated from the contract by protos/java_methods.py: do not edit. */
public class ConsignmentCalls {
  private final Caller caller;

  ConsignmentCalls(Caller caller) {
    this.caller = caller;
  }

  /**
   * Allocates a consignment to the cheapest eligible carrier service under the customer's default rules. Upstream
   * answers at once with a summary, which has no price and no state: read those with GetConsignmentAllocation. Where
   * upstream only says that it took the request in hand, the consignment is read until it is allocated, and
   * <code>state</code> is set.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentResponse allocateConsignment(
      AllocateConsignmentRequest request) {
    return allocateConsignment(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentResponse allocateConsignment(
      AllocateConsignmentRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignment(AllocateConsignmentRequest)
   */
  public final CompletableFuture<AllocateConsignmentResponse> allocateConsignmentAsync(
      AllocateConsignmentRequest request) {
    return allocateConsignmentAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentResponse> allocateConsignmentAsync(
      AllocateConsignmentRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentMethod(), request, options);
  }

  /**
   * Allocates a consignment to the cheapest eligible carrier service of one service group. Upstream answers at once
   * with a summary, which has no price and no state: read those with GetConsignmentAllocation. Where upstream only
   * says that it took the request in hand, the consignment is read until it is allocated, and <code>state</code> is
   * set.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentWithServiceGroupResponse allocateConsignmentWithServiceGroup(
      AllocateConsignmentWithServiceGroupRequest request) {
    return allocateConsignmentWithServiceGroup(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentWithServiceGroupResponse allocateConsignmentWithServiceGroup(
      AllocateConsignmentWithServiceGroupRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentWithServiceGroupMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignmentWithServiceGroup(AllocateConsignmentWithServiceGroupRequest)
   */
  public final CompletableFuture<AllocateConsignmentWithServiceGroupResponse> allocateConsignmentWithServiceGroupAsync(
      AllocateConsignmentWithServiceGroupRequest request) {
    return allocateConsignmentWithServiceGroupAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentWithServiceGroupResponse> allocateConsignmentWithServiceGroupAsync(
      AllocateConsignmentWithServiceGroupRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentWithServiceGroupMethod(), request, options);
  }

  /**
   * Allocates a consignment to the carrier service of a quote that was made for it and has not expired. Upstream
   * answers at once with a summary, which has no price and no state: read those with GetConsignmentAllocation. Where
   * upstream only says that it took the request in hand, the consignment is read until it is allocated, and
   * <code>state</code> is set.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentWithQuoteResponse allocateConsignmentWithQuote(
      AllocateConsignmentWithQuoteRequest request) {
    return allocateConsignmentWithQuote(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentWithQuoteResponse allocateConsignmentWithQuote(
      AllocateConsignmentWithQuoteRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentWithQuoteMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignmentWithQuote(AllocateConsignmentWithQuoteRequest)
   */
  public final CompletableFuture<AllocateConsignmentWithQuoteResponse> allocateConsignmentWithQuoteAsync(
      AllocateConsignmentWithQuoteRequest request) {
    return allocateConsignmentWithQuoteAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentWithQuoteResponse> allocateConsignmentWithQuoteAsync(
      AllocateConsignmentWithQuoteRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentWithQuoteMethod(), request, options);
  }

  /**
   * Allocates consignments under the customer's default rules, each to its own cheapest service. Upstream answers at
   * once and for each consignment: OK means that the call was carried out, and <code>results</code> says what became
   * of each.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsResponse allocateConsignments(
      AllocateConsignmentsRequest request) {
    return allocateConsignments(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsResponse allocateConsignments(
      AllocateConsignmentsRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignments(AllocateConsignmentsRequest)
   */
  public final CompletableFuture<AllocateConsignmentsResponse> allocateConsignmentsAsync(
      AllocateConsignmentsRequest request) {
    return allocateConsignmentsAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentsResponse> allocateConsignmentsAsync(
      AllocateConsignmentsRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsMethod(), request, options);
  }

  /**
   * Allocates consignments within one service group. Upstream answers at once and for each consignment: OK means that
   * the call was carried out, and <code>results</code> says what became of each. No guide of 2025 mentions this
   * operation, so the setting <code>CONSIGNMENTS_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsWithServiceGroupResponse allocateConsignmentsWithServiceGroup(
      AllocateConsignmentsWithServiceGroupRequest request) {
    return allocateConsignmentsWithServiceGroup(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsWithServiceGroupResponse allocateConsignmentsWithServiceGroup(
      AllocateConsignmentsWithServiceGroupRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsWithServiceGroupMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignmentsWithServiceGroup(AllocateConsignmentsWithServiceGroupRequest)
   */
  public final CompletableFuture<AllocateConsignmentsWithServiceGroupResponse> allocateConsignmentsWithServiceGroupAsync(
      AllocateConsignmentsWithServiceGroupRequest request) {
    return allocateConsignmentsWithServiceGroupAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentsWithServiceGroupResponse> allocateConsignmentsWithServiceGroupAsync(
      AllocateConsignmentsWithServiceGroupRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsWithServiceGroupMethod(), request, options);
  }

  /**
   * Allocates consignments to one carrier service. One that the service cannot take becomes ALLOCATION_FAILED.
   * Upstream answers at once and for each consignment: OK means that the call was carried out, and
   * <code>results</code> says what became of each. No guide of 2025 mentions this operation, so the setting
   * <code>CONSIGNMENTS_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsWithCarrierServiceResponse allocateConsignmentsWithCarrierService(
      AllocateConsignmentsWithCarrierServiceRequest request) {
    return allocateConsignmentsWithCarrierService(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsWithCarrierServiceResponse allocateConsignmentsWithCarrierService(
      AllocateConsignmentsWithCarrierServiceRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsWithCarrierServiceMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignmentsWithCarrierService(AllocateConsignmentsWithCarrierServiceRequest)
   */
  public final CompletableFuture<AllocateConsignmentsWithCarrierServiceResponse> allocateConsignmentsWithCarrierServiceAsync(
      AllocateConsignmentsWithCarrierServiceRequest request) {
    return allocateConsignmentsWithCarrierServiceAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentsWithCarrierServiceResponse> allocateConsignmentsWithCarrierServiceAsync(
      AllocateConsignmentsWithCarrierServiceRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsWithCarrierServiceMethod(), request, options);
  }

  /**
   * Allocates consignments to services that pass filters. The customer's rules still apply. Upstream answers at once
   * and for each consignment: OK means that the call was carried out, and <code>results</code> says what became of
   * each. No guide of 2025 mentions this operation, so the setting <code>CONSIGNMENTS_DISABLED_OPERATIONS</code> can
   * switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsWithServiceFiltersResponse allocateConsignmentsWithServiceFilters(
      AllocateConsignmentsWithServiceFiltersRequest request) {
    return allocateConsignmentsWithServiceFilters(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentsWithServiceFiltersResponse allocateConsignmentsWithServiceFilters(
      AllocateConsignmentsWithServiceFiltersRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsWithServiceFiltersMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignmentsWithServiceFilters(AllocateConsignmentsWithServiceFiltersRequest)
   */
  public final CompletableFuture<AllocateConsignmentsWithServiceFiltersResponse> allocateConsignmentsWithServiceFiltersAsync(
      AllocateConsignmentsWithServiceFiltersRequest request) {
    return allocateConsignmentsWithServiceFiltersAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentsWithServiceFiltersResponse> allocateConsignmentsWithServiceFiltersAsync(
      AllocateConsignmentsWithServiceFiltersRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentsWithServiceFiltersMethod(), request, options);
  }

  /**
   * Allocates a consignment and gets its labels in one call. A consignment that is allocated but whose label is not
   * to be had is OK, with the allocation and a <code>label_error</code>. If the consignment is allocated already, and
   * nothing speaks against its being this very allocation, the call allocates nothing and fetches the label: so a
   * call is repeated until the label is there. No guide of 2025 mentions this operation, so the setting
   * <code>CONSIGNMENTS_DISABLED_OPERATIONS</code> can switch it off.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentWithLabelsResponse allocateConsignmentWithLabels(
      AllocateConsignmentWithLabelsRequest request) {
    return allocateConsignmentWithLabels(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final AllocateConsignmentWithLabelsResponse allocateConsignmentWithLabels(
      AllocateConsignmentWithLabelsRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentWithLabelsMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #allocateConsignmentWithLabels(AllocateConsignmentWithLabelsRequest)
   */
  public final CompletableFuture<AllocateConsignmentWithLabelsResponse> allocateConsignmentWithLabelsAsync(
      AllocateConsignmentWithLabelsRequest request) {
    return allocateConsignmentWithLabelsAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<AllocateConsignmentWithLabelsResponse> allocateConsignmentWithLabelsAsync(
      AllocateConsignmentWithLabelsRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getAllocateConsignmentWithLabelsMethod(), request, options);
  }

  /**
   * Takes back the allocation of a consignment that is allocated, manifested, or whose manifest failed.
   *
   * @throws AllocationException it failed
   */
  public final DeallocateConsignmentResponse deallocateConsignment(
      DeallocateConsignmentRequest request) {
    return deallocateConsignment(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final DeallocateConsignmentResponse deallocateConsignment(
      DeallocateConsignmentRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getDeallocateConsignmentMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #deallocateConsignment(DeallocateConsignmentRequest)
   */
  public final CompletableFuture<DeallocateConsignmentResponse> deallocateConsignmentAsync(
      DeallocateConsignmentRequest request) {
    return deallocateConsignmentAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<DeallocateConsignmentResponse> deallocateConsignmentAsync(
      DeallocateConsignmentRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getDeallocateConsignmentMethod(), request, options);
  }

  /**
   * Takes back the allocations of consignments, one by one. Upstream answers at once and for each consignment: OK
   * means that the call was carried out, and <code>results</code> says what became of each.
   *
   * @throws AllocationException it failed
   */
  public final DeallocateConsignmentsResponse deallocateConsignments(
      DeallocateConsignmentsRequest request) {
    return deallocateConsignments(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final DeallocateConsignmentsResponse deallocateConsignments(
      DeallocateConsignmentsRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getDeallocateConsignmentsMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #deallocateConsignments(DeallocateConsignmentsRequest)
   */
  public final CompletableFuture<DeallocateConsignmentsResponse> deallocateConsignmentsAsync(
      DeallocateConsignmentsRequest request) {
    return deallocateConsignmentsAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<DeallocateConsignmentsResponse> deallocateConsignmentsAsync(
      DeallocateConsignmentsRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getDeallocateConsignmentsMethod(), request, options);
  }

  /**
   * Reads how a consignment stands and, if it is allocated, its allocation. A consignment that is not allocated is
   * OK, with its state and no carrier service.
   *
   * @throws AllocationException it failed
   */
  public final GetConsignmentAllocationResponse getConsignmentAllocation(
      GetConsignmentAllocationRequest request) {
    return getConsignmentAllocation(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final GetConsignmentAllocationResponse getConsignmentAllocation(
      GetConsignmentAllocationRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getGetConsignmentAllocationMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #getConsignmentAllocation(GetConsignmentAllocationRequest)
   */
  public final CompletableFuture<GetConsignmentAllocationResponse> getConsignmentAllocationAsync(
      GetConsignmentAllocationRequest request) {
    return getConsignmentAllocationAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<GetConsignmentAllocationResponse> getConsignmentAllocationAsync(
      GetConsignmentAllocationRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getGetConsignmentAllocationMethod(), request, options);
  }

  /**
   * Asks for what the eligible carrier services would charge for a consignment. It books nothing.
   *
   * @throws AllocationException it failed
   */
  public final GetConsignmentQuotesResponse getConsignmentQuotes(
      GetConsignmentQuotesRequest request) {
    return getConsignmentQuotes(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final GetConsignmentQuotesResponse getConsignmentQuotes(
      GetConsignmentQuotesRequest request, RequestOptions options) {
    return caller.call(
        ConsignmentAllocationServiceGrpc.getGetConsignmentQuotesMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #getConsignmentQuotes(GetConsignmentQuotesRequest)
   */
  public final CompletableFuture<GetConsignmentQuotesResponse> getConsignmentQuotesAsync(
      GetConsignmentQuotesRequest request) {
    return getConsignmentQuotesAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<GetConsignmentQuotesResponse> getConsignmentQuotesAsync(
      GetConsignmentQuotesRequest request, RequestOptions options) {
    return caller.callAsync(
        ConsignmentAllocationServiceGrpc.getGetConsignmentQuotesMethod(), request, options);
  }
}

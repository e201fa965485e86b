package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.GetServiceGroupRequest;
import com.allocationgateway.allocation.v1.GetServiceGroupResponse;
import com.allocationgateway.allocation.v1.ListServiceGroupsRequest;
import com.allocationgateway.allocation.v1.ListServiceGroupsResponse;
import com.allocationgateway.allocation.v1.RefreshServiceGroupsRequest;
import com.allocationgateway.allocation.v1.RefreshServiceGroupsResponse;
import com.allocationgateway.allocation.v1.ServiceGroupServiceGrpc;
import java.util.concurrent.CompletableFuture;

/** The rpcs as methods. Generated from the contract by protos/java_methods.py: do not edit. */
public class ServiceGroupCalls {
  private final Caller caller;

  ServiceGroupCalls(Caller caller) {
    this.caller = caller;
  }

  /**
   * Lists the service groups that the gateway knows, ordered by API and code. Where it may have a list from upstream
   * and has none in memory, it asks for it first; without an answer it lists what it knows otherwise.
   *
   * @throws AllocationException it failed
   */
  public final ListServiceGroupsResponse listServiceGroups(
      ListServiceGroupsRequest request) {
    return listServiceGroups(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final ListServiceGroupsResponse listServiceGroups(
      ListServiceGroupsRequest request, RequestOptions options) {
    return caller.call(
        ServiceGroupServiceGrpc.getListServiceGroupsMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #listServiceGroups(ListServiceGroupsRequest)
   */
  public final CompletableFuture<ListServiceGroupsResponse> listServiceGroupsAsync(
      ListServiceGroupsRequest request) {
    return listServiceGroupsAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<ListServiceGroupsResponse> listServiceGroupsAsync(
      ListServiceGroupsRequest request, RequestOptions options) {
    return caller.callAsync(
        ServiceGroupServiceGrpc.getListServiceGroupsMethod(), request, options);
  }

  /**
   * Tells which service group a code or a name stands for, as in an allocation. NOT_FOUND means that the gateway does
   * not know it; with Ship, which has no list of groups, it may exist all the same.
   *
   * @throws AllocationException it failed
   */
  public final GetServiceGroupResponse getServiceGroup(
      GetServiceGroupRequest request) {
    return getServiceGroup(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final GetServiceGroupResponse getServiceGroup(
      GetServiceGroupRequest request, RequestOptions options) {
    return caller.call(
        ServiceGroupServiceGrpc.getGetServiceGroupMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #getServiceGroup(GetServiceGroupRequest)
   */
  public final CompletableFuture<GetServiceGroupResponse> getServiceGroupAsync(
      GetServiceGroupRequest request) {
    return getServiceGroupAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<GetServiceGroupResponse> getServiceGroupAsync(
      GetServiceGroupRequest request, RequestOptions options) {
    return caller.callAsync(
        ServiceGroupServiceGrpc.getGetServiceGroupMethod(), request, options);
  }

  /**
   * Reads the catalogue file anew, forgets what was listed by upstream or observed in use, in every replica that
   * shares a cache, and asks upstream for its list anew. It has to be switched on by the setting
   * <code>SERVICE_GROUP_REFRESH</code>.
   *
   * @throws AllocationException it failed
   */
  public final RefreshServiceGroupsResponse refreshServiceGroups(
      RefreshServiceGroupsRequest request) {
    return refreshServiceGroups(request, RequestOptions.DEFAULT);
  }

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final RefreshServiceGroupsResponse refreshServiceGroups(
      RefreshServiceGroupsRequest request, RequestOptions options) {
    return caller.call(
        ServiceGroupServiceGrpc.getRefreshServiceGroupsMethod(), request, options);
  }

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #refreshServiceGroups(RefreshServiceGroupsRequest)
   */
  public final CompletableFuture<RefreshServiceGroupsResponse> refreshServiceGroupsAsync(
      RefreshServiceGroupsRequest request) {
    return refreshServiceGroupsAsync(request, RequestOptions.DEFAULT);
  }

  /** The same, with options. */
  public final CompletableFuture<RefreshServiceGroupsResponse> refreshServiceGroupsAsync(
      RefreshServiceGroupsRequest request, RequestOptions options) {
    return caller.callAsync(
        ServiceGroupServiceGrpc.getRefreshServiceGroupsMethod(), request, options);
  }
}

package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateConsignmentsRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithCarrierServiceRequest;
import com.allocationgateway.allocation.v1.AllocateConsignmentsWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithCarrierServiceRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.AllocationSelector;
import com.google.protobuf.Message;

/** The requests that items of jobs are: bulk calls of one. */
final class Selected {
  private Selected() {}

  static Message shipment(String reference, String requestId, AllocationSelector selector) {
    switch (selector.getScopeCase()) {
      case SERVICE_GROUP:
        return AllocateShipmentsWithServiceGroupRequest.newBuilder()
            .addShipments(reference)
            .setRequestId(requestId)
            .setServiceGroup(selector.getServiceGroup())
            .addAllCapabilities(selector.getCapabilitiesList())
            .build();
      case CARRIER_SERVICE_REFERENCE:
        return AllocateShipmentsWithCarrierServiceRequest.newBuilder()
            .addShipments(reference)
            .setRequestId(requestId)
            .setCarrierServiceReference(selector.getCarrierServiceReference())
            .addAllCapabilities(selector.getCapabilitiesList())
            .build();
      default:
        return AllocateShipmentsRequest.newBuilder()
            .addShipments(reference)
            .setRequestId(requestId)
            .addAllCapabilities(selector.getCapabilitiesList())
            .build();
    }
  }

  static Message consignment(String reference, String requestId, AllocationSelector selector) {
    switch (selector.getScopeCase()) {
      case SERVICE_GROUP:
        return AllocateConsignmentsWithServiceGroupRequest.newBuilder()
            .addConsignments(reference)
            .setRequestId(requestId)
            .setServiceGroup(selector.getServiceGroup())
            .build();
      case CARRIER_SERVICE_REFERENCE:
        return AllocateConsignmentsWithCarrierServiceRequest.newBuilder()
            .addConsignments(reference)
            .setRequestId(requestId)
            .setCarrierServiceReference(selector.getCarrierServiceReference())
            .build();
      default:
        return AllocateConsignmentsRequest.newBuilder().addConsignments(reference).setRequestId(requestId).build();
    }
  }
}

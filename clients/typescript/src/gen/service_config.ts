// Generated from clients/service_config.json. Do not edit.
import type { ServiceConfig } from "../service_config.js";

/** What the clients in all languages have: a time-out for every rpc, retries of reads. */
export const DEFAULT_SERVICE_CONFIG: ServiceConfig = {
  "loadBalancingConfig": [{"round_robin": {}}],
  "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1},
  "methodConfig": [
    {
      "name": [
        {"service": "allocation.v1.ShipmentAllocationService", "method": "GetShipmentAllocation"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "CreateShipmentQuotes"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "GetConsignmentAllocation"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "GetConsignmentQuotes"},
        {"service": "allocation.v1.ServiceGroupService", "method": "ListServiceGroups"},
        {"service": "allocation.v1.ServiceGroupService", "method": "GetServiceGroup"}
      ],
      "timeout": "15s",
      "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
      }
    },
    {
      "name": [
        {"service": "allocation.v1.ServiceGroupService", "method": "RefreshServiceGroups"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipment"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentWithServiceGroup"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentWithCarrierService"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentWithVirtualService"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentWithQuote"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "DeallocateShipment"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignment"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentWithServiceGroup"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentWithQuote"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentWithLabels"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "DeallocateConsignment"}
      ],
      "timeout": "20s"
    },
    {
      "name": [
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipments"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentsWithServiceGroup"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentsWithCarrierService"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentsWithFilters"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignments"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentsWithServiceGroup"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentsWithCarrierService"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentsWithServiceFilters"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "DeallocateConsignments"}
      ],
      "timeout": "30s"
    },
    {
      "name": [
        {"service": "allocation.v1.ShipmentAllocationService", "method": "AllocateShipmentStream"},
        {"service": "allocation.v1.ShipmentAllocationService", "method": "WatchShipmentAllocations"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "AllocateConsignmentStream"},
        {"service": "allocation.v1.ConsignmentAllocationService", "method": "WatchConsignmentAllocations"}
      ]
    }
  ]
};

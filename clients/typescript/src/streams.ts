import { create, type MessageInitShape } from "@bufbuild/protobuf";

import type { Caller } from "./caller.js";
import {
  AllocateConsignmentsRequestSchema,
  AllocateConsignmentsWithCarrierServiceRequestSchema,
  AllocateConsignmentsWithServiceGroupRequestSchema,
  ConsignmentAllocationService,
  GetConsignmentAllocationRequestSchema,
  type ConsignmentAllocation,
  type ConsignmentItemSchema,
  type ConsignmentOutcome,
  type ConsignmentStanding,
  type WatchConsignmentAllocationsResponse,
} from "./gen/allocation/v1/consignment_allocation_service_pb.js";
import type { Allocation } from "./gen/allocation/v1/core_pb.js";
import {
  AllocateShipmentsRequestSchema,
  AllocateShipmentsWithCarrierServiceRequestSchema,
  AllocateShipmentsWithServiceGroupRequestSchema,
  GetShipmentAllocationRequestSchema,
  ShipmentAllocationService,
  type ShipmentItemSchema,
  type ShipmentOutcome,
  type ShipmentStanding,
  type WatchShipmentAllocationsResponse,
} from "./gen/allocation/v1/shipment_allocation_service_pb.js";
import { newJob, type Job, type JobItem, type JobKind, type JobOptions, type ToldOutcome } from "./jobs.js";
import type { LastingOptions } from "./lasting.js";
import type { Allocated, Standing } from "./outcomes.js";
import { watch, type ToldStanding, type WatchKind } from "./watches.js";

/** The rpcs that are streams, as what they tell. */
export interface Streams<Item, A extends Allocated> {
  /**
   * Allocates any number of items, which may still be coming, and yields what became of each, in no order and once. Lost
   * connections and gateways that stop are gone on from under the same job id, with the items that have no outcome. What is yielded
   * as `unknown` is asked for with it too.
   *
   * @param items An iterable that waits for its next item has to end with the job: the item that it gives after that is dropped.
   * @throws UnfinishedJobError: The time was over before all had their outcome. It has the id of the job.
   */
  allocateAll(items: Iterable<Item> | AsyncIterable<Item>, options: JobOptions): Job<A>;
  /**
   * Yields how up to 1,000 of them stand: all of them at once, then each change, until all are final. One may be told again
   * after a connection was lost.
   */
  watch(references: Iterable<string>, options: LastingOptions): AsyncGenerator<Standing<A>, void>;
}

type Shipment = MessageInitShape<typeof ShipmentItemSchema>;
type Consignment = MessageInitShape<typeof ConsignmentItemSchema>;

export type ShipmentStreams = Streams<Shipment, Allocation>;
export type ConsignmentStreams = Streams<Consignment, ConsignmentAllocation>;

const SHIPMENT_JOB: JobKind<Shipment, ShipmentOutcome> = {
  method: ShipmentAllocationService.method.allocateShipmentStream,
  referenceOf: (one) => one.shipmentReference ?? "",
  callOf: (reference, requestId, { scope, capabilities }) => {
    const all = { shipments: [reference], requestId, capabilities };
    switch (scope.case) {
      case "serviceGroup":
        return create(AllocateShipmentsWithServiceGroupRequestSchema, { ...all, serviceGroup: scope.value });
      case "carrierServiceReference":
        return create(AllocateShipmentsWithCarrierServiceRequestSchema, { ...all, carrierServiceReference: scope.value });
      default:
        return create(AllocateShipmentsRequestSchema, all);
    }
  },
};

const CONSIGNMENT_JOB: JobKind<Consignment, ConsignmentOutcome> = {
  method: ConsignmentAllocationService.method.allocateConsignmentStream,
  referenceOf: (one) => one.consignmentReference ?? "",
  callOf: (reference, requestId, { scope }) => {
    const all = { consignments: [reference], requestId };
    switch (scope.case) {
      case "serviceGroup":
        return create(AllocateConsignmentsWithServiceGroupRequestSchema, { ...all, serviceGroup: scope.value });
      case "carrierServiceReference":
        return create(AllocateConsignmentsWithCarrierServiceRequestSchema, {
          ...all,
          carrierServiceReference: scope.value,
        });
      default:
        return create(AllocateConsignmentsRequestSchema, all);
    }
  },
};

const SHIPMENT_WATCH: WatchKind<ShipmentStanding> = {
  method: ShipmentAllocationService.method.watchShipmentAllocations,
  requestOf: (shipmentReferences) => ({ shipmentReferences }),
  standingsOf: (response) => (response as WatchShipmentAllocationsResponse).shipments,
  referenceOf: (standing) => standing.shipmentReference,
  callOf: (shipmentReference) => create(GetShipmentAllocationRequestSchema, { shipmentReference }),
};

const CONSIGNMENT_WATCH: WatchKind<ConsignmentStanding> = {
  method: ConsignmentAllocationService.method.watchConsignmentAllocations,
  requestOf: (consignmentReferences) => ({ consignmentReferences }),
  standingsOf: (response) => (response as WatchConsignmentAllocationsResponse).consignments,
  referenceOf: (standing) => standing.consignmentReference,
  callOf: (consignmentReference) => create(GetConsignmentAllocationRequestSchema, { consignmentReference }),
};

/** Returns the streams of shipments. */
export function shipmentStreams(caller: Caller): ShipmentStreams {
  return streams<Shipment, ShipmentOutcome, ShipmentStanding, Allocation>(caller, SHIPMENT_JOB, SHIPMENT_WATCH);
}

/** Returns the streams of consignments. */
export function consignmentStreams(caller: Caller): ConsignmentStreams {
  return streams<Consignment, ConsignmentOutcome, ConsignmentStanding, ConsignmentAllocation>(
    caller,
    CONSIGNMENT_JOB,
    CONSIGNMENT_WATCH,
  );
}

function streams<
  Item extends JobItem,
  OutcomeTold extends ToldOutcome<A>,
  StandingTold extends ToldStanding<A>,
  A extends Allocated,
>(caller: Caller, job: JobKind<Item, OutcomeTold>, watching: WatchKind<StandingTold>): Streams<Item, A> {
  return {
    allocateAll: (items, options) => newJob<Item, OutcomeTold, A>(caller, job, items, options),
    watch: (references, options) => watch<StandingTold, A>(caller, watching, references, options),
  };
}

import type { MessageInitShape } from "@bufbuild/protobuf";

import type { Caller } from "./caller.js";
import {
  ConsignmentAllocationService,
  type ConsignmentItemSchema,
  type ConsignmentOutcome,
  type ConsignmentStanding,
  type WatchConsignmentAllocationsResponse,
} from "./gen/allocation/v1/consignment_allocation_service_pb.js";
import {
  ShipmentAllocationService,
  type ShipmentItemSchema,
  type ShipmentOutcome,
  type ShipmentStanding,
  type WatchShipmentAllocationsResponse,
} from "./gen/allocation/v1/shipment_allocation_service_pb.js";
import { Job, type JobKind, type JobOptions } from "./jobs.js";
import type { LastingOptions } from "./lasting.js";
import { watch, type WatchKind } from "./watches.js";

/** The rpcs that are streams, as what they tell. */
export interface Streams<Item, Outcome, Standing> {
  /**
   * Allocates any number of items, which may still be coming, and yields what became of each, in no order. Lost connections
   * and gateways that stop are gone on from under the same job id. What is yielded as `unknown` is asked for with it too.
   *
   * @throws UnfinishedJobError: The time was over before all had their outcome. It has the id of the job.
   */
  allocateAll(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: JobOptions,
  ): AsyncGenerator<Outcome, void>;
  /**
   * Yields how up to 1,000 of them stand: all of them at once, then each change, until all are `final`. One may be told again
   * after a connection was lost.
   */
  watch(references: Iterable<string>, options: LastingOptions): AsyncGenerator<Standing, void>;
}

type Shipment = MessageInitShape<typeof ShipmentItemSchema>;
type Consignment = MessageInitShape<typeof ConsignmentItemSchema>;

export type ShipmentStreams = Streams<Shipment, ShipmentOutcome, ShipmentStanding>;
export type ConsignmentStreams = Streams<Consignment, ConsignmentOutcome, ConsignmentStanding>;

const SHIPMENT_JOB: JobKind<Shipment, ShipmentOutcome> = {
  method: ShipmentAllocationService.method.allocateShipmentStream,
  referenceOf: (one) => one.shipmentReference ?? "",
};

const CONSIGNMENT_JOB: JobKind<Consignment, ConsignmentOutcome> = {
  method: ConsignmentAllocationService.method.allocateConsignmentStream,
  referenceOf: (one) => one.consignmentReference ?? "",
};

const SHIPMENT_WATCH: WatchKind<ShipmentStanding> = {
  method: ShipmentAllocationService.method.watchShipmentAllocations,
  requestOf: (shipmentReferences) => ({ shipmentReferences }),
  standingsOf: (response) => (response as WatchShipmentAllocationsResponse).shipments,
  referenceOf: (standing) => standing.shipmentReference,
};

const CONSIGNMENT_WATCH: WatchKind<ConsignmentStanding> = {
  method: ConsignmentAllocationService.method.watchConsignmentAllocations,
  requestOf: (consignmentReferences) => ({ consignmentReferences }),
  standingsOf: (response) => (response as WatchConsignmentAllocationsResponse).consignments,
  referenceOf: (standing) => standing.consignmentReference,
};

/** Returns the streams of shipments. */
export function shipmentStreams(caller: Caller): ShipmentStreams {
  return streams(caller, SHIPMENT_JOB, SHIPMENT_WATCH);
}

/** Returns the streams of consignments. */
export function consignmentStreams(caller: Caller): ConsignmentStreams {
  return streams(caller, CONSIGNMENT_JOB, CONSIGNMENT_WATCH);
}

function streams<Item, Outcome, Standing extends { readonly final: boolean }>(
  caller: Caller,
  job: JobKind<Item, Outcome>,
  watching: WatchKind<Standing>,
): Streams<Item, Outcome, Standing> {
  return {
    allocateAll: (items, options) => new Job(caller, job, items, options).outcomes(),
    watch: (references, options) => watch(caller, watching, references, options),
  };
}

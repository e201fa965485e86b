import type { AllocationError } from "./errors.js";
import type { Price } from "./gen/allocation/v1/core_pb.js";
import { money, type Money } from "./values.js";

/** An allocation of either API, as far as all have the same. */
export interface Allocated {
  readonly price?: Price | undefined;
}

/**
 * What became of an item of a job:
 *
 * - `allocated`: it is allocated.
 * - `queued`: upstream has taken it in hand. That is all if no more was asked for. Else its time was over before more was known, and
 *   the job begun again with the same `jobId` tells.
 * - `refused`: it is not allocated by this job. An `error` that is a TryAgainError says that its time was over before it was sent.
 * - `unknown`: it may have been allocated or not: `error` is an UnknownOutcomeError. The job begun again with its `jobId` asks.
 */
export type OutcomeKind = "allocated" | "queued" | "refused" | "unknown";

/** What became of one item of a job. */
export class Outcome<A extends Allocated> {
  /** The shipment or consignment, as its caller wrote it. */
  readonly reference: string;
  /** The id of its write; empty if the reference cannot be one. */
  readonly requestId: string;
  /** What became of it. */
  readonly kind: OutcomeKind;
  /** Its allocation; undefined if it has none by this job, or none was told. */
  readonly allocation: A | undefined;
  /** Why it was refused, or is not known; its `request` is the call that the item is. Undefined if neither is so. */
  readonly error: AllocationError | undefined;

  constructor(
    reference: string,
    requestId: string,
    kind: OutcomeKind,
    allocation: A | undefined,
    error: AllocationError | undefined,
  ) {
    this.reference = reference;
    this.requestId = requestId;
    this.kind = kind;
    this.allocation = allocation;
    this.error = error;
  }

  /** What it costs without taxes; undefined if that is not told. It throws as `money` does. */
  get net(): Money | undefined {
    return amount(this.allocation, "net");
  }

  /** What it costs with taxes; undefined if that is not told. It throws as `money` does. */
  get gross(): Money | undefined {
    return amount(this.allocation, "gross");
  }
}

/** How a shipment or consignment stands that is watched. */
export class Standing<A extends Allocated> {
  /** The shipment or consignment. */
  readonly reference: string;
  /** As it was read, with its state; undefined if it could not be read. */
  readonly allocation: A | undefined;
  /** Why it could not be read; undefined if it could. Unless it is final it is read again. */
  readonly error: AllocationError | undefined;
  /**
   * Whether nothing more is told of it: it is allocated or that has failed, it is cancelled, or upstream does not know it.
   */
  readonly isFinal: boolean;

  constructor(reference: string, allocation: A | undefined, error: AllocationError | undefined, isFinal: boolean) {
    this.reference = reference;
    this.allocation = allocation;
    this.error = error;
    this.isFinal = isFinal;
  }

  /** What it costs without taxes; undefined if that is not told. It throws as `money` does. */
  get net(): Money | undefined {
    return amount(this.allocation, "net");
  }

  /** What it costs with taxes; undefined if that is not told. It throws as `money` does. */
  get gross(): Money | undefined {
    return amount(this.allocation, "gross");
  }
}

function amount(allocation: Allocated | undefined, name: "net" | "gross"): Money | undefined {
  const told = allocation?.price?.[name];
  return told && money(told);
}

/** How far a job has come, over all of its streams. */
export interface JobSummary {
  /** Items that were taken from the caller and sent. */
  readonly received: number;
  /** Items that are allocated. */
  readonly allocated: number;
  /** Items that are queued upstream. */
  readonly queued: number;
  /** Items that were refused. */
  readonly refused: number;
  /** Items of which it is not known what became of them. */
  readonly unknown: number;
  /** Items whose reference had no outcome yet when it came again. They have none of their own. */
  readonly repeated: number;
  /** How often a stream was begun. */
  readonly streams: number;
}

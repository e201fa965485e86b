package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.Price;
import java.util.Optional;

/**
 * What became of one item of a job.
 *
 * @param <A> its allocation
 */
public final class Outcome<A> {
  private final String reference;
  private final String requestId;
  private final OutcomeKind kind;
  private final A allocation;
  private final Price price;
  private final AllocationException error;

  /**
   * Takes what was told.
   *
   * @param allocation null if none was told
   * @param error null if it was neither refused nor is unknown
   */
  Outcome(String reference, String requestId, OutcomeKind kind, A allocation, Price price, AllocationException error) {
    this.reference = reference;
    this.requestId = requestId;
    this.kind = kind;
    this.allocation = allocation;
    this.price = price;
    this.error = error;
  }

  /** The shipment or consignment, as its caller wrote it. */
  public String getReference() {
    return reference;
  }

  /** The id of its write; empty if the reference cannot be one. */
  public String getRequestId() {
    return requestId;
  }

  /** What became of it. */
  public OutcomeKind getKind() {
    return kind;
  }

  /** Its allocation; nothing if it has none by this job, or none was told. */
  public Optional<A> getAllocation() {
    return Optional.ofNullable(allocation);
  }

  /** Why it was refused, or is not known; its request is the call that the item is. Nothing if neither is so. */
  public Optional<AllocationException> getError() {
    return Optional.ofNullable(error);
  }

  /**
   * What it costs without taxes; nothing if that is not told.
   *
   * @throws IllegalArgumentException it is no amount of money at all
   */
  public Optional<Money> getNet() {
    return price.hasNet() ? Optional.of(Money.of(price.getNet())) : Optional.empty();
  }

  /**
   * What it costs with taxes; nothing if that is not told.
   *
   * @throws IllegalArgumentException it is no amount of money at all
   */
  public Optional<Money> getGross() {
    return price.hasGross() ? Optional.of(Money.of(price.getGross())) : Optional.empty();
  }

  @Override
  public String toString() {
    return reference + ": " + kind + (error == null ? "" : " " + error.getMessage());
  }
}

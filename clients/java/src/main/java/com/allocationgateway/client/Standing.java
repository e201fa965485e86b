package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.Price;
import java.util.Optional;

/**
 * How a shipment or consignment stands that is watched.
 *
 * @param <A> its allocation
 */
public final class Standing<A> {
  private final String reference;
  private final A allocation;
  private final Price price;
  private final AllocationException error;
  private final boolean isFinal;

  /**
   * Takes what was told.
   *
   * @param allocation null if it could not be read
   * @param error null if it could
   */
  Standing(String reference, A allocation, Price price, AllocationException error, boolean isFinal) {
    this.reference = reference;
    this.allocation = allocation;
    this.price = price;
    this.error = error;
    this.isFinal = isFinal;
  }

  /** The shipment or consignment. */
  public String getReference() {
    return reference;
  }

  /** It as it was read, with its state; nothing if it could not be read. */
  public Optional<A> getAllocation() {
    return Optional.ofNullable(allocation);
  }

  /** Why it could not be read; nothing if it could. Unless it is final it is read again. */
  public Optional<AllocationException> getError() {
    return Optional.ofNullable(error);
  }

  /**
   * Whether nothing more is told of it: it is allocated or that has failed, it is cancelled, or upstream does not know it.
   */
  public boolean isFinal() {
    return isFinal;
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
    return reference + (isFinal ? " (final)" : "") + (error == null ? "" : ": " + error.getMessage());
  }
}

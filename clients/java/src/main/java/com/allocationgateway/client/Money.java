package com.allocationgateway.client;

import java.math.BigDecimal;
import java.util.Objects;

/** An exact amount of a currency. As text: {@code 2.00 GBP}. */
public final class Money {
  private static final int NANOS_OF_UNIT = 1_000_000_000;
  private static final int NANO_DECIMALS = 9;
  private static final int USUAL_DECIMALS = 2;

  private final BigDecimal amount;
  private final String currencyCode;

  private Money(BigDecimal amount, String currencyCode) {
    this.amount = amount;
    this.currencyCode = currencyCode;
  }

  /**
   * Returns an amount as it was sent.
   *
   * @throws IllegalArgumentException its units and its nanos differ in sign, or the nanos are a whole unit: it is no
   *     amount at all
   */
  public static Money of(com.google.type.Money sent) {
    long units = sent.getUnits();
    int nanos = sent.getNanos();
    if (Math.abs((long) nanos) >= NANOS_OF_UNIT || (units > 0 && nanos < 0) || (units < 0 && nanos > 0)) {
      throw new IllegalArgumentException("units " + units + " and nanos " + nanos + " are no amount of money");
    }
    BigDecimal exact = BigDecimal.valueOf(units).add(BigDecimal.valueOf(nanos, NANO_DECIMALS)).stripTrailingZeros();
    return new Money(exact.setScale(Math.max(exact.scale(), USUAL_DECIMALS)), sent.getCurrencyCode());
  }

  /** The amount, with two decimals, or as many more as it has. */
  public BigDecimal getAmount() {
    return amount;
  }

  /** The code of ISO 4217. */
  public String getCurrencyCode() {
    return currencyCode;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Money
        && amount.equals(((Money) other).amount)
        && currencyCode.equals(((Money) other).currencyCode);
  }

  @Override
  public int hashCode() {
    return Objects.hash(amount, currencyCode);
  }

  @Override
  public String toString() {
    return amount.toPlainString() + " " + currencyCode;
  }
}

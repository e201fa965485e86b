package com.allocationgateway.client;

import com.google.protobuf.Timestamp;
import java.math.BigDecimal;
import java.time.Instant;

/** Numbers and times of messages, as Java has them. {@link Money} has amounts. */
public final class Values {
  private Values() {}

  /**
   * Returns a decimal number as it was sent, such as the value of a tax rate. None is zero.
   *
   * @throws NumberFormatException its text is no number
   */
  public static BigDecimal decimal(com.google.type.Decimal sent) {
    return sent.getValue().isEmpty() ? BigDecimal.ZERO : new BigDecimal(sent.getValue());
  }

  /** Returns a time, to the nanosecond. */
  public static Instant instant(Timestamp sent) {
    return Instant.ofEpochSecond(sent.getSeconds(), sent.getNanos());
  }
}

package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.Timestamp;
import com.google.type.Decimal;
import java.math.BigDecimal;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ValuesTest {
  private static com.google.type.Money sent(long units, int nanos) {
    return com.google.type.Money.newBuilder().setUnits(units).setNanos(nanos).setCurrencyCode("GBP").build();
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0, 0.00 GBP",
    "2, 0, 2.00 GBP",
    "100, 0, 100.00 GBP",
    "1, 500000000, 1.50 GBP",
    "0, -10000000, -0.01 GBP",
    "-1, -1, -1.000000001 GBP",
    "9223372036854775807, 999999999, 9223372036854775807.999999999 GBP",
    "-9223372036854775808, -999999999, -9223372036854775808.999999999 GBP"
  })
  void amountsAreExact(long units, int nanos, String expected) {
    assertEquals(expected, Money.of(sent(units, nanos)).toString());
  }

  @ParameterizedTest
  @CsvSource({"1, -1", "-1, 1", "0, 1000000000", "0, -1000000000", "0, -2147483648"})
  void whatIsNoAmountIsRefused(long units, int nanos) {
    assertThrows(IllegalArgumentException.class, () -> Money.of(sent(units, nanos)));
  }

  @Test
  void amountsAreValues() {
    Money money = Money.of(sent(1, 500_000_000));
    assertEquals(new BigDecimal("1.50"), money.getAmount());
    assertEquals(money, Money.of(sent(1, 500_000_000)));
    assertEquals(money.hashCode(), Money.of(sent(1, 500_000_000)).hashCode());
    assertNotEquals(money, Money.of(sent(1, 500_000_001)));
    assertNotEquals(money, Money.of(sent(1, 500_000_000).toBuilder().setCurrencyCode("EUR").build()));
  }

  @Test
  void decimalsAreExact() {
    assertEquals(new BigDecimal("0.20"), Values.decimal(Decimal.newBuilder().setValue("0.20").build()));
    assertEquals(BigDecimal.ZERO, Values.decimal(Decimal.getDefaultInstance()));
    Decimal hexadecimal = Decimal.newBuilder().setValue("0x10").build();
    assertThrows(NumberFormatException.class, () -> Values.decimal(hexadecimal));
  }

  @Test
  void timesKeepTheirNanoseconds() {
    Timestamp sent = Timestamp.newBuilder().setSeconds(-1).setNanos(1).build();
    assertEquals(Instant.parse("1969-12-31T23:59:59.000000001Z"), Values.instant(sent));
  }
}

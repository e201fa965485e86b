import java.math.BigDecimal;

/** What was allocated. */
final class Allocated {
  final String carrier;
  final BigDecimal price;

  Allocated(String carrier, BigDecimal price) {
    this.carrier = carrier;
    this.price = price;
  }
}

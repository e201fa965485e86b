package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class AttemptsTest {
  private static final OptionalLong OVER = OptionalLong.empty();
  private static final Failure AWAY = Failures.bare(Status.UNAVAILABLE);
  private static final Repetition READS =
      Repetition.ofReads(ServiceConfig.ofAllClients()
          .byName()
          .get("allocation.v1.ShipmentAllocationService/GetShipmentAllocation")
          .retryPolicy);

  private final AtomicLong now = new AtomicLong(Long.MAX_VALUE - 1);
  private double random = 1;

  private static long millis(long count) {
    return Duration.ofMillis(count).toNanos();
  }

  private static OptionalLong after(long count) {
    return OptionalLong.of(millis(count));
  }

  private Attempts attempts(long timeout, Repetition repetition, Budget budget) {
    return new Attempts(millis(timeout), millis(20_000), repetition, budget, now::get, () -> random);
  }

  private Attempts writes(long timeout) {
    return attempts(timeout, Repetition.WRITES, new Budget(1000, 0.1));
  }

  @Test
  void pausesGrowToFiveSeconds() {
    Attempts attempts = writes(3_600_000);
    for (long expected : new long[] {100, 200, 400, 800, 1600, 3200, 5000, 5000}) {
      assertEquals(after(expected), attempts.pauseAfter(AWAY));
    }
    attempts.succeed();
    random = 0;
    assertEquals(after(50), attempts.pauseAfter(AWAY));
  }

  @ParameterizedTest
  @CsvSource({"0, 400, 400", "1, 400, 500", "1, 30000, 31000", "0, 30000, 30000"})
  void itNeverComesBackSoonerThanWasTold(double drawn, long told, long expected) {
    random = drawn;
    Failure byDetails = Failures.told(Status.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", "none", told, "7");
    assertEquals(after(expected), writes(60_000).pauseAfter(byDetails));
    assertEquals(after(expected), writes(60_000).pauseAfter(Failures.bare(Status.UNAVAILABLE, Long.toString(told))));
  }

  @Test
  void aPauseOfNothingThatIsToldGrowsAsAnyOther() {
    Attempts attempts = writes(60_000);
    for (long expected : new long[] {100, 200, 400}) {
      Failure byDetails = Failures.told(Status.UNAVAILABLE, "GATEWAY_STOPPING", "none", 0L, "0");
      assertEquals(after(expected), attempts.pauseAfter(byDetails));
    }
    assertEquals(after(800), attempts.pauseAfter(Failures.bare(Status.UNAVAILABLE, "0")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"-1", "never", "", "1.5"})
  void whoeverWantsNoRepetitionGetsNone(String pushback) {
    Failure failure = Failures.bare(Status.UNAVAILABLE, pushback);
    assertEquals(OVER, writes(60_000).pauseAfter(failure));
    assertEquals(OVER, attempts(15_000, READS, new Budget(1000, 1)).pauseAfter(failure));
  }

  @Test
  void anAttemptThatTheGatewayHadNoTimeForIsRepeatedWhateverItSays() {
    Failure late = Failures.told(Status.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "", null, "-1");
    assertTrue(writes(60_000).pauseAfter(late).isPresent());
  }

  @ParameterizedTest
  @EnumSource(Status.Code.class)
  void aWriteIsRepeatedAfterTheseAndNoOthers(Status.Code code) {
    boolean always =
        code == Status.Code.UNKNOWN
            || code == Status.Code.UNAVAILABLE
            || code == Status.Code.RESOURCE_EXHAUSTED
            || code == Status.Code.ABORTED
            || code == Status.Code.DEADLINE_EXCEEDED;
    boolean ifLost = always || code == Status.Code.CANCELLED || code == Status.Code.INTERNAL;
    Failure told = Failures.told(code.toStatus(), "SOME_REASON", "");
    assertEquals(always, writes(60_000).pauseAfter(told).isPresent());
    assertEquals(ifLost, writes(60_000).pauseAfter(Failures.bare(code.toStatus())).isPresent());
  }

  @ParameterizedTest
  @EnumSource(Status.Code.class)
  void aReadIsRepeatedAfterTheseAndNoOthers(Status.Code code) {
    boolean expected = code == Status.Code.UNAVAILABLE || code == Status.Code.RESOURCE_EXHAUSTED;
    Attempts attempts = attempts(15_000, READS, new Budget(1000, 1));
    assertEquals(expected, attempts.pauseAfter(Failures.bare(code.toStatus())).isPresent());
  }

  @Test
  void aReadHasFiveAttempts() {
    Attempts attempts = attempts(15_000, READS, new Budget(1000, 1));
    for (int made = 1; made < 5; made++) {
      assertTrue(attempts.pauseAfter(AWAY).isPresent());
    }
    assertEquals(OVER, attempts.pauseAfter(AWAY));
  }

  @Test
  void whatTheServiceConfigurationDoesNotNameIsNotRepeated() {
    assertEquals(OVER, attempts(15_000, Repetition.ofReads(null), new Budget(1000, 1)).pauseAfter(AWAY));
  }

  @Test
  void thereIsNoAttemptThatWouldHaveNoTime() {
    Attempts attempts = writes(1_000);
    assertEquals(millis(1_000), attempts.timeout());
    now.addAndGet(millis(880));
    assertEquals(millis(120), attempts.timeout());
    assertEquals(after(100), attempts.pauseAfter(AWAY));
    now.addAndGet(millis(1));
    random = 0.6;
    assertEquals(OVER, writes(100).pauseAfter(Failures.told(Status.ABORTED, "WRITE_IN_PROGRESS", "", 81L, null)));
    now.addAndGet(millis(500));
    assertEquals(0, attempts.timeout());
  }

  @Test
  void howLongAnAttemptMayTakeIsLimited() {
    assertEquals(millis(20_000), writes(60_000).timeout());
  }

  @Test
  void anyDelayCanBeTold() {
    assertEquals(OVER, writes(60_000).pauseAfter(Failures.told(Status.UNKNOWN, "X", "", Long.MAX_VALUE, null)));
    assertEquals(OVER, writes(60_000).pauseAfter(Failures.bare(Status.UNKNOWN, "999999999999999999999")));
  }

  @Test
  void halfOfTheBudgetIsSpentAndSuccessesEarnItBack() {
    Budget budget = new Budget(4, 1);
    Attempts attempts = attempts(60_000, Repetition.WRITES, budget);
    assertTrue(attempts.pauseAfter(AWAY).isPresent());
    assertEquals(OVER, attempts.pauseAfter(AWAY));
    budget.earn();
    budget.earn();
    assertTrue(attempts.pauseAfter(AWAY).isPresent());
  }

  @Test
  void whoMayHaveDoneItLeavesADoubtThatOnlyTheGatewayClears() {
    Attempts attempts = writes(60_000);
    assertFalse(attempts.isInDoubt());
    attempts.pauseAfter(Failures.told(Status.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", "none"));
    assertFalse(attempts.isInDoubt());
    attempts.pauseAfter(AWAY);
    assertTrue(attempts.isInDoubt());
    attempts.pauseAfter(Failures.bare(Status.UNAUTHENTICATED));
    attempts.pauseAfter(Failures.told(Status.RESOURCE_EXHAUSTED, "GATEWAY_OVERLOADED", ""));
    assertTrue(attempts.isInDoubt());
    attempts.pauseAfter(Failures.told(Status.NOT_FOUND, "SHIPMENT_NOT_FOUND", "none"));
    assertFalse(attempts.isInDoubt());
    attempts.pauseAfter(Failures.told(Status.UNKNOWN, "OUTCOME_UNKNOWN", "unknown"));
    assertTrue(attempts.isInDoubt());
    attempts.pauseAfter(Failures.told(Status.INTERNAL, "UPSTREAM_CONTRACT_BROKEN", "made"));
    assertFalse(attempts.isInDoubt());
  }
}

package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.allocationgateway.allocation.v1.ShipmentItem;
import com.allocationgateway.allocation.v1.ShipmentOutcome;
import io.grpc.Context;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Jobs of which no item ever has its outcome. */
@Timeout(30)
class JobTest {
  private static final JobOptions LONG = JobOptions.within(Duration.ofHours(1)).withJobId("mine");

  private Gateway gateway;
  private AllocationClient client;

  @BeforeEach
  void begin() throws IOException {
    gateway = new Gateway();
    client = gateway.client().build();
  }

  @AfterEach
  void end() {
    client.close();
    gateway.close();
  }

  private static ShipmentItem item(String reference) {
    return ShipmentItem.newBuilder().setShipmentReference(reference).build();
  }

  /** Items that are there when they are put there, until the thread that waits for them is interrupted. */
  private static Iterable<ShipmentItem> coming(BlockingQueue<ShipmentItem> items, CountDownLatch ended) {
    return () -> new Iterator<>() {
      @Override
      public boolean hasNext() {
        return true;
      }

      @Override
      public ShipmentItem next() {
        try {
          return items.take();
        } catch (InterruptedException interrupted) {
          ended.countDown();
          throw new IllegalStateException(interrupted);
        }
      }
    };
  }

  private FutureTask<UnfinishedJobException> waitingFor(ResultStream<ShipmentOutcome> outcomes, boolean interrupted) {
    return new FutureTask<>(() -> {
      UnfinishedJobException thrown = assertThrows(UnfinishedJobException.class, () -> outcomes.iterator().next());
      assertEquals(interrupted, Thread.interrupted());
      return thrown;
    });
  }

  @Test
  void itemsAreSentAsTheyComeAndOnce() throws Exception {
    BlockingQueue<ShipmentItem> items = new LinkedBlockingQueue<>();
    CountDownLatch ended = new CountDownLatch(1);
    try (ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(coming(items, ended), LONG)) {
      FutureTask<UnfinishedJobException> task = waitingFor(outcomes, true);
      Thread thread = new Thread(task);
      thread.start();
      items.add(item("a"));
      assertEquals("a", gateway.requestIds.take());
      items.addAll(List.of(item("a"), item("b")));
      assertEquals("b", gateway.requestIds.take());
      thread.interrupt();
      UnfinishedJobException thrown = task.get();
      assertEquals("mine", thrown.getJobId());
      assertEquals(List.of("a", "b"), thrown.getUnanswered());
      assertInstanceOf(InterruptedException.class, thrown.getCause());
    }
    ended.await();
    gateway.cancelled.await();
  }

  @Test
  void itsIdIsKnownWhateverEndsIt() {
    Iterable<ShipmentItem> broken = () -> {
      throw new IllegalArgumentException("there are no items");
    };
    JobOptions options = JobOptions.within(Duration.ofHours(1));
    try (JobStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(broken, options)) {
      assertThrows(IllegalArgumentException.class, () -> outcomes.iterator().next());
      assertEquals(outcomes.getJobId(), UUID.fromString(outcomes.getJobId()).toString());
    }
    try (JobStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(List.of(), LONG)) {
      assertEquals("mine", outcomes.getJobId());
    }
  }

  @Test
  void noItemsAreReadBeforeItIsGoneThroughOrAfterItsClientIsClosed() throws Exception {
    BlockingQueue<ShipmentItem> items = new LinkedBlockingQueue<>();
    CountDownLatch read = new CountDownLatch(1);
    CountDownLatch ended = new CountDownLatch(1);
    Iterable<ShipmentItem> counted = () -> {
      read.countDown();
      return coming(items, ended).iterator();
    };
    ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(counted, LONG);
    assertEquals(1, read.getCount());
    Thread thread = new Thread(waitingFor(outcomes, false));
    thread.start();
    read.await();
    client.close();
    ended.await();
    thread.join();
  }

  @Test
  void manyItemsAreSentWholeAndThenTheCallIsHalfClosed() throws Exception {
    List<ShipmentItem> items = new ArrayList<>();
    for (int number = 0; number < 1234; number++) {
      items.add(item("sp_" + number));
    }
    try (ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(items, LONG)) {
      FutureTask<UnfinishedJobException> task = waitingFor(outcomes, true);
      Thread thread = new Thread(task);
      thread.start();
      for (ShipmentItem item : items) {
        assertEquals(item.getShipmentReference(), gateway.requestIds.take());
      }
      assertEquals("half-closed", gateway.requestIds.take());
      thread.interrupt();
      assertEquals(items.size(), task.get().getUnanswered().size());
    }
  }

  @Test
  void closingItEndsItForWhoeverWaits() throws Exception {
    ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(List.of(item("a")), LONG);
    FutureTask<Boolean> task = new FutureTask<>(() -> outcomes.iterator().hasNext());
    new Thread(task).start();
    gateway.requestIds.take();
    outcomes.close();
    assertFalse(task.get());
    gateway.cancelled.await();
  }

  @Test
  void aClientThatIsClosedEndsItWithItsId() throws Exception {
    ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(List.of(item("a")), LONG);
    FutureTask<UnfinishedJobException> task = waitingFor(outcomes, false);
    new Thread(task).start();
    gateway.requestIds.take();
    client.close();
    assertEquals("mine", task.get().getJobId());
    assertThrows(IllegalStateException.class, () -> client.shipments().allocateAll(List.of(), LONG));
  }

  @ParameterizedTest
  @MethodSource("broken")
  void whatItemsThrowEndsItWhenThoseBeforeHaveTheirOutcome(Throwable broken) {
    Iterable<ShipmentItem> items = () -> {
      throw JobTest.<RuntimeException>unchecked(broken);
    };
    try (ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(items, LONG)) {
      assertSame(broken, assertThrows(Throwable.class, () -> outcomes.iterator().hasNext()));
      assertEquals("half-closed", gateway.requestIds.poll());
    }
  }

  static List<Throwable> broken() {
    return List.of(new IllegalArgumentException("no item"), new AssertionError("no item"));
  }

  @SuppressWarnings("unchecked")
  private static <T extends Throwable> T unchecked(Throwable thrown) throws T {
    throw (T) thrown;
  }

  @Test
  void whatItemsThrowIsTheCauseIfThoseBeforeDoNotGetTheirOutcome() {
    IllegalArgumentException broken = new IllegalArgumentException("no item");
    Iterator<ShipmentItem> first = List.of(item("a")).iterator();
    Iterable<ShipmentItem> items = () -> new Iterator<>() {
      @Override
      public boolean hasNext() {
        return true;
      }

      @Override
      public ShipmentItem next() {
        if (!first.hasNext()) {
          throw broken;
        }
        return first.next();
      }
    };
    JobOptions options = JobOptions.within(Duration.ofSeconds(1));
    try (ResultStream<ShipmentOutcome> outcomes = client.shipments().allocateAll(items, options)) {
      UnfinishedJobException thrown =
          assertThrows(UnfinishedJobException.class, () -> outcomes.iterator().hasNext());
      assertSame(broken, thrown.getCause());
      assertEquals(List.of("a"), thrown.getUnanswered());
    }
  }

  @Test
  void aContextThatIsCancelledEndsAPauseAtOnce() throws Exception {
    gateway.failures.add(Status.UNAVAILABLE);
    gateway.trailers = Failures.trailers("GATEWAY_STOPPING", "", Duration.ofHours(1).toMillis(), null);
    JobOptions options = JobOptions.within(Duration.ofHours(10));
    Context.CancellableContext context = Context.current().withCancellation();
    ResultStream<ShipmentOutcome> outcomes =
        context.call(() -> client.shipments().allocateAll(List.of(item("a")), options));
    FutureTask<CancellationException> task =
        new FutureTask<>(() -> assertThrows(CancellationException.class, () -> outcomes.iterator().next()));
    Thread thread = new Thread(task);
    thread.start();
    while (thread.getState() != Thread.State.TIMED_WAITING) {
      Thread.onSpinWait();
    }
    IllegalStateException cause = new IllegalStateException("nobody needs it");
    context.cancel(cause);
    assertSame(cause, task.get().getCause());
  }

  @Test
  void anIdIsMadeForAJobThatHasNone() {
    assertTrue(JobOptions.within(Duration.ofSeconds(1)).named().getJobId().matches("[0-9a-f-]{36}"));
  }
}

package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.allocationgateway.allocation.v1.AllocateShipmentStreamResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentsWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.AllocationSummary;
import com.allocationgateway.allocation.v1.Price;
import com.allocationgateway.allocation.v1.ShipmentItem;
import com.allocationgateway.allocation.v1.ShipmentOutcome;
import com.allocationgateway.allocation.v1.ShipmentOutcomes;
import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Jobs, of most of which no item ever has its outcome. */
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

  private FutureTask<UnfinishedJobException> waitingFor(JobStream<Allocation> outcomes, boolean interrupted) {
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
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(coming(items, ended), LONG)) {
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
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(broken, options)) {
      assertThrows(IllegalArgumentException.class, () -> outcomes.iterator().next());
      assertEquals(outcomes.getJobId(), UUID.fromString(outcomes.getJobId()).toString());
    }
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(List.of(), LONG)) {
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
    JobStream<Allocation> outcomes = client.shipments().allocateAll(counted, LONG);
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
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(items, LONG)) {
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
    JobStream<Allocation> outcomes = client.shipments().allocateAll(List.of(item("a")), LONG);
    FutureTask<Boolean> task = new FutureTask<>(() -> outcomes.iterator().hasNext());
    new Thread(task).start();
    gateway.requestIds.take();
    outcomes.close();
    assertFalse(task.get());
    gateway.cancelled.await();
  }

  @Test
  void aClientThatIsClosedEndsItWithItsId() throws Exception {
    JobStream<Allocation> outcomes = client.shipments().allocateAll(List.of(item("a")), LONG);
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
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(items, LONG)) {
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
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(items, options)) {
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
    JobStream<Allocation> outcomes =
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

  private static ShipmentOutcome.Builder outcome(String reference) {
    return ShipmentOutcome.newBuilder().setShipmentReference(reference);
  }

  private static com.google.rpc.Status told(Status.Code code, String reason) {
    ErrorInfo info = ErrorInfo.newBuilder().setDomain("allocation.v1").setReason(reason).build();
    return com.google.rpc.Status.newBuilder().setCode(code.value()).addDetails(Any.pack(info)).build();
  }

  /** Tells these, and ends so. */
  private static Consumer<StreamObserver<AllocateShipmentStreamResponse>> script(
      Status end, ShipmentOutcome.Builder... outcomes) {
    ShipmentOutcomes.Builder all = ShipmentOutcomes.newBuilder();
    for (ShipmentOutcome.Builder one : outcomes) {
      all.addResults(one);
    }
    return observer -> {
      observer.onNext(AllocateShipmentStreamResponse.newBuilder().setResults(all).build());
      if (end.isOk()) {
        AllocationSummary summary = AllocationSummary.getDefaultInstance();
        observer.onNext(AllocateShipmentStreamResponse.newBuilder().setSummary(summary).build());
        observer.onCompleted();
      } else {
        observer.onError(end.asRuntimeException());
      }
    };
  }

  @Test
  void eachItemIsToldOnceHoweverOftenItComesOrIsToldAndCounts() {
    com.google.type.Money gross = com.google.type.Money.newBuilder().setCurrencyCode("GBP").setUnits(2).build();
    ShipmentOutcome.Builder a =
        outcome("a").setAllocation(Allocation.newBuilder().setPrice(Price.newBuilder().setGross(gross)));
    ShipmentOutcome.Builder b = outcome("b").setQueued(true).setRequestId("of b");
    ShipmentOutcome.Builder c = outcome("c").setUnknown(told(Status.Code.UNKNOWN, "OUTCOME_UNKNOWN"));
    ShipmentOutcome.Builder d = outcome("d").setRefusal(told(Status.Code.NOT_FOUND, "SHIPMENT_NOT_FOUND"));
    gateway.scripts.add(script(Status.UNAVAILABLE, b));
    gateway.scripts.add(script(Status.UNAVAILABLE, b, c));
    gateway.scripts.add(script(Status.OK, a, a, d));
    List<AllocationException> lost = new ArrayList<>();
    JobOptions options = LONG.withServiceGroup("group").withAccount("north").withOnLost(lost::add);
    List<ShipmentItem> items = List.of(item("a"), item("b"), item("c"), item("a"), item("d"));
    List<Outcome<Allocation>> found = new ArrayList<>();
    try (JobStream<Allocation> outcomes = client.shipments().allocateAll(items, options)) {
      outcomes.forEach(found::add);
      assertEquals(
          "received 5, allocated 1, queued 1, refused 1, unknown 1, repeated 1, streams 3",
          outcomes.getSummary().toString());
    }
    List<OutcomeKind> kinds = new ArrayList<>();
    List<String> references = new ArrayList<>();
    found.forEach(one -> {
      kinds.add(one.getKind());
      references.add(one.getReference());
    });
    assertEquals(List.of("b", "c", "a", "d"), references);
    assertEquals(
        List.of(OutcomeKind.QUEUED, OutcomeKind.UNKNOWN, OutcomeKind.ALLOCATED, OutcomeKind.REFUSED), kinds);
    assertEquals("2.00 GBP", found.get(2).getGross().orElseThrow().toString());
    assertEquals("of b", found.get(0).getRequestId());
    assertTrue(found.get(0).getError().isEmpty() && found.get(0).getGross().isEmpty());
    assertInstanceOf(UnknownOutcomeException.class, found.get(1).getError().orElseThrow());
    AllocationException refused = found.get(3).getError().orElseThrow();
    assertInstanceOf(NotFoundException.class, refused);
    assertEquals("north", refused.getAccount());
    assertEquals(
        AllocateShipmentsWithServiceGroupRequest.newBuilder().addShipments("d").setServiceGroup("group").build(),
        refused.getRequest());
    assertEquals(2, lost.size());
    lost.forEach(one -> assertInstanceOf(TryAgainException.class, one));
    List<String> sent = new ArrayList<>(gateway.requestIds);
    assertEquals(
        List.of("a", "b", "c", "d", "half-closed", "a", "c", "d", "half-closed", "a", "d", "half-closed"), sent);
  }

  @Test
  void theDeadlineOfAContextIsTheEndOfAWatchAsOfAnyCall() throws Exception {
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    Context context = Context.current().withDeadlineAfter(300, TimeUnit.MILLISECONDS, timer);
    ResultStream<Standing<Allocation>> standings =
        context.call(() -> client.shipments().watch(List.of("a", "a"), Duration.ofHours(1)));
    TryAgainException thrown = assertThrows(TryAgainException.class, () -> standings.iterator().next());
    timer.shutdownNow();
    assertEquals(Status.Code.DEADLINE_EXCEEDED, thrown.getCode());
    assertEquals(List.of("a"), List.copyOf(gateway.requestIds));
  }
}

package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.allocationgateway.allocation.v1.AllocateShipmentRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentResponse;
import com.allocationgateway.allocation.v1.GetShipmentAllocationRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A client that calls a server over a connection. */
@Timeout(30)
class AllocationClientTest {
  private static final AllocateShipmentRequest WRITE =
      AllocateShipmentRequest.newBuilder().setShipmentReference("sp_1").build();
  private static final GetShipmentAllocationRequest READ = GetShipmentAllocationRequest.getDefaultInstance();
  private static final RequestOptions PATIENT = RequestOptions.DEFAULT.withTimeout(Duration.ofHours(10));

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

  private static String text(String header, Metadata sent) {
    return sent.get(Metadata.Key.of(header, Metadata.ASCII_STRING_MARSHALLER));
  }

  private AllocateShipmentResponse ask(boolean awaits) throws Exception {
    return awaits ? client.shipments().allocateShipment(WRITE) : client.shipments().allocateShipmentAsync(WRITE).get();
  }

  /** Runs something in a thread of its own, which can be interrupted. */
  private static Thread run(Runnable task) {
    Thread thread = new Thread(task);
    thread.start();
    return thread;
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aCallIsRepeatedWithItsId(boolean awaits) throws Exception {
    gateway.failures.addAll(List.of(Status.UNAVAILABLE, Status.INTERNAL, Status.ABORTED));
    assertEquals(AllocateShipmentResponse.getDefaultInstance(), ask(awaits));
    assertEquals(4, gateway.requestIds.size());
    assertEquals(1, Set.copyOf(gateway.requestIds).size());
    assertNotEquals("", gateway.requestIds.take());
    ask(awaits);
    assertEquals(2, Set.copyOf(gateway.requestIds).size());
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void anAttemptThatIsNotAnsweredIsRepeated(boolean awaits) throws Exception {
    gateway.failures.add(Gateway.SILENCE);
    String json = new String(
        AllocationClient.class.getResourceAsStream("service_config.json").readAllBytes(), StandardCharsets.UTF_8);
    client.close();
    client = gateway.client().serviceConfig(json.replace("\"20s\"", "\"0.5s\"")).build();
    ask(awaits);
    assertTrue(gateway.requestIds.size() >= 2);
    assertEquals(1, Set.copyOf(gateway.requestIds).size());
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whatFailsForGoodIsThrown(boolean awaits) throws Exception {
    gateway.failures.add(Status.UNAUTHENTICATED);
    if (awaits) {
      assertThrows(NotPermittedException.class, () -> ask(true));
    } else {
      ExecutionException thrown = assertThrows(ExecutionException.class, () -> ask(false));
      assertInstanceOf(NotPermittedException.class, thrown.getCause());
    }
    assertEquals(1, gateway.requestIds.size());
  }

  @Test
  void theCallersOwnIdIsKept() throws Exception {
    client.shipments().allocateShipment(WRITE.toBuilder().setRequestId("mine").build());
    assertEquals("mine", gateway.requestIds.take());
  }

  @Test
  void aRequestThatWasKeptIsCalledByItsType() {
    assertEquals(AllocateShipmentResponse.getDefaultInstance(), client.call(WRITE));
    assertThrows(IllegalArgumentException.class, () -> client.call(AllocateShipmentResponse.getDefaultInstance()));
  }

  @Test
  void aThreadThatIsInterruptedIsToldOfTheDoubt() throws Exception {
    gateway.failures.add(Gateway.SILENCE);
    FutureTask<Boolean> task = new FutureTask<>(() -> {
      UnknownOutcomeException thrown = assertThrows(UnknownOutcomeException.class, () -> ask(true));
      assertInstanceOf(InterruptedException.class, thrown.getCause());
      return Thread.interrupted();
    });
    Thread thread = run(task);
    gateway.requestIds.take();
    thread.interrupt();
    assertTrue(task.get());
    gateway.cancelled.await();
  }

  @Test
  void aReadThatIsInterruptedIsCancelled() throws Exception {
    gateway.failures.add(Gateway.SILENCE);
    FutureTask<Boolean> task = new FutureTask<>(() -> {
      assertThrows(CancellationException.class, () -> client.shipments().getShipmentAllocation(READ));
      return Thread.interrupted();
    });
    Thread thread = run(task);
    gateway.headers.take();
    thread.interrupt();
    assertTrue(task.get());
  }

  @Test
  void aFutureThatIsCancelledEndsItsCall() throws Exception {
    gateway.failures.add(Gateway.SILENCE);
    CompletableFuture<?> answer = client.shipments().allocateShipmentAsync(WRITE);
    gateway.requestIds.take();
    answer.cancel(false);
    gateway.cancelled.await();
  }

  @Test
  void aContextThatIsCancelledEndsItsCall() throws Exception {
    gateway.failures.addAll(List.of(Gateway.SILENCE, Gateway.SILENCE));
    Context.CancellableContext context = Context.current().withCancellation();
    CompletableFuture<?> write = context.call(() -> client.shipments().allocateShipmentAsync(WRITE));
    CompletableFuture<?> read = context.call(() -> client.shipments().getShipmentAllocationAsync(READ));
    gateway.headers.take();
    gateway.headers.take();
    context.cancel(null);
    ExecutionException thrown = assertThrows(ExecutionException.class, write::get);
    assertInstanceOf(UnknownOutcomeException.class, thrown.getCause());
    assertThrows(CancellationException.class, read::get);
  }

  /** Tells when an attempt has ended, and all that its client makes of that was done. */
  private static ClientInterceptor telling(CountDownLatch ended) {
    return new ClientInterceptor() {
      @Override
      public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<Q, R>(next.newCall(method, options)) {
          @Override
          public void start(Listener<R> listener, Metadata headers) {
            super.start(
                new SimpleForwardingClientCallListener<R>(listener) {
                  @Override
                  public void onClose(Status status, Metadata trailers) {
                    super.onClose(status, trailers);
                    ended.countDown();
                  }
                },
                headers);
          }
        };
      }
    };
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "unknown"})
  void aContextThatIsCancelledEndsAPauseAtOnce(String effect) throws Exception {
    CountDownLatch ended = new CountDownLatch(2);
    client.close();
    client = gateway.client().intercept(telling(ended)).build();
    gateway.failures.addAll(List.of(Status.UNAVAILABLE, Status.UNAVAILABLE));
    gateway.trailers = Failures.trailers("UPSTREAM_UNAVAILABLE", effect, Duration.ofHours(1).toMillis(), null);
    Class<? extends RuntimeException> kind =
        effect.equals("none") ? CancellationException.class : UnknownOutcomeException.class;
    Context.CancellableContext context = Context.current().withCancellation();
    FutureTask<RuntimeException> waiting =
        new FutureTask<>(() -> assertThrows(kind, () -> client.shipments().allocateShipment(WRITE, PATIENT)));
    Thread thread = run(context.wrap(waiting));
    CompletableFuture<?> answer = context.call(() -> client.shipments().allocateShipmentAsync(WRITE, PATIENT));
    ended.await();
    while (thread.getState() != Thread.State.TIMED_WAITING) {
      Thread.onSpinWait();
    }
    IllegalStateException cause = new IllegalStateException("nobody needs it");
    context.cancel(cause);
    assertSame(cause, waiting.get().getCause());
    Throwable thrown = assertThrows(Exception.class, answer::get);
    assertInstanceOf(kind, thrown instanceof ExecutionException ? thrown.getCause() : thrown);
  }

  @Test
  void theDeadlineOfAContextEndsAPauseToo() throws Exception {
    CountDownLatch ended = new CountDownLatch(1);
    client.close();
    client = gateway.client().intercept(telling(ended)).build();
    gateway.failures.add(Status.UNAVAILABLE);
    gateway.trailers = Failures.trailers("UPSTREAM_UNAVAILABLE", "none", Duration.ofHours(1).toMillis(), null);
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    Context.CancellableContext context = Context.current().withDeadlineAfter(2, TimeUnit.HOURS, timer);
    CompletableFuture<?> answer = context.call(() -> client.shipments().allocateShipmentAsync(WRITE, PATIENT));
    ended.await();
    // As it is when the deadline has passed.
    context.cancel(new TimeoutException("context timed out"));
    timer.shutdownNow();
    ExecutionException thrown = assertThrows(ExecutionException.class, answer::get);
    assertInstanceOf(TryAgainException.class, thrown.getCause());
  }

  @Test
  void theDeadlineOfAContextCounts() {
    gateway.failures.add(Gateway.SILENCE);
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    Context context = Context.current().withDeadlineAfter(300, TimeUnit.MILLISECONDS, timer);
    TryAgainException thrown =
        assertThrows(
            TryAgainException.class, () -> context.call(() -> client.shipments().getShipmentAllocation(READ)));
    timer.shutdownNow();
    assertEquals(Status.Code.DEADLINE_EXCEEDED, thrown.getCode());
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aClientThatIsClosedTellsOfTheDoubtAndMakesNoMoreCalls(boolean answered) throws Exception {
    // Either an attempt is under way, or the next one is waited for.
    gateway.failures.add(answered ? Status.UNAVAILABLE : Gateway.SILENCE);
    gateway.failures.add(answered ? Status.UNAVAILABLE : Gateway.SILENCE);
    gateway.failures.addAll(Collections.nCopies(100, Status.UNAVAILABLE));
    FutureTask<UnknownOutcomeException> waiting =
        new FutureTask<>(
            () ->
                assertThrows(
                    UnknownOutcomeException.class, () -> client.shipments().allocateShipment(WRITE, PATIENT)));
    run(waiting);
    CompletableFuture<?> answer = client.shipments().allocateShipmentAsync(WRITE, PATIENT);
    gateway.requestIds.take();
    gateway.requestIds.take();
    client.close();
    waiting.get();
    ExecutionException thrown = assertThrows(ExecutionException.class, answer::get);
    assertInstanceOf(UnknownOutcomeException.class, thrown.getCause());
    assertThrows(IllegalStateException.class, () -> client.shipments().getShipmentAllocation(READ));
  }

  @Test
  void aReadOfAClientThatIsClosedSaysSo() throws Exception {
    gateway.failures.add(Gateway.SILENCE);
    CompletableFuture<?> answer = client.shipments().getShipmentAllocationAsync(READ);
    gateway.headers.take();
    client.close();
    ExecutionException thrown = assertThrows(ExecutionException.class, answer::get);
    assertEquals(IllegalStateException.class, thrown.getCause().getClass());
  }

  @Test
  void metadataAndAccountsAreSent() throws Exception {
    client.close();
    client = gateway.client().metadata("x-team", "checkout").account("eu").build();
    client.shipments().getShipmentAllocation(READ, RequestOptions.DEFAULT.withMetadata("x-order", "17"));
    Metadata sent = gateway.headers.take();
    assertEquals("checkout", text("x-team", sent));
    assertEquals("eu", text("allocation-account", sent));
    assertEquals("17", text("x-order", sent));
    client.shipments().getShipmentAllocation(READ);
    assertTrue(gateway.headers.take().keys().stream().noneMatch("x-order"::equals));
  }

  @Test
  void aCallIsRepeatedForTheAccountOfItsErrorWhicheverThatWas() throws Exception {
    client.close();
    client = gateway.client().account("eu").build();
    RequestOptions nobodys = RequestOptions.DEFAULT.withAccount("");
    for (RequestOptions options : List.of(nobodys, RequestOptions.DEFAULT, nobodys.withAccount("us"))) {
      gateway.failures.add(Status.UNAUTHENTICATED);
      NotPermittedException thrown =
          assertThrows(NotPermittedException.class, () -> client.shipments().allocateShipment(WRITE, options));
      client.call(thrown.getRequest(), RequestOptions.DEFAULT.withAccount(thrown.getAccount()));
      String first = text("allocation-account", gateway.headers.take());
      assertEquals(first, text("allocation-account", gateway.headers.take()));
      assertEquals(thrown.getAccount(), first == null ? "" : first);
    }
    RequestOptions twice = nobodys.withAccount("us").withMetadata("Allocation-Account", "west");
    client.shipments().getShipmentAllocation(READ, twice);
    List<String> sent = new ArrayList<>();
    gateway.headers.take().getAll(Metadata.Key.of("allocation-account", Metadata.ASCII_STRING_MARSHALLER))
        .forEach(sent::add);
    assertEquals(List.of("west"), sent);
  }

  @Test
  void theTextOfADoubtNamesTheAccount() {
    gateway.failures.addAll(Collections.nCopies(100, Status.UNAVAILABLE));
    RequestOptions options = RequestOptions.DEFAULT.withTimeout(Duration.ofMillis(200));
    UnknownOutcomeException thrown =
        assertThrows(
            UnknownOutcomeException.class,
            () -> client.shipments().allocateShipment(WRITE, options.withAccount("eu")));
    String text = "repeat the call with request id " + thrown.getRequestId() + " and account eu";
    assertTrue(thrown.getMessage().endsWith(text), thrown.getMessage());
    thrown = assertThrows(UnknownOutcomeException.class, () -> client.shipments().allocateShipment(WRITE, options));
    assertTrue(thrown.getMessage().endsWith(thrown.getRequestId()), thrown.getMessage());
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aContextThatHadEndedBeforeLeavesNoDoubt(boolean isLate) throws Exception {
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    Context.CancellableContext context =
        isLate ? Context.current().withDeadlineAfter(-1, TimeUnit.SECONDS, timer) : Context.current().withCancellation();
    if (!isLate) {
      context.cancel(new IllegalStateException("nobody needs it"));
    }
    Class<? extends RuntimeException> kind = isLate ? TryAgainException.class : CancellationException.class;
    assertThrows(kind, () -> context.call(() -> client.shipments().allocateShipment(WRITE)));
    CompletableFuture<?> answer = context.call(() -> client.shipments().allocateShipmentAsync(WRITE));
    Throwable thrown = assertThrows(Exception.class, answer::get);
    assertInstanceOf(kind, thrown instanceof ExecutionException ? thrown.getCause() : thrown);
    assertTrue(gateway.requestIds.isEmpty());
    timer.shutdownNow();
  }

  @Test
  void oneAuthorizationIsSent(@TempDir Path folder) throws IOException {
    TokenFile token = new TokenFile(Files.writeString(folder.resolve("token"), "file"));
    Metadata none = new Metadata();
    Metadata ofClient = new Metadata();
    Headers.add(ofClient, "Authorization", "Bearer client");
    Metadata ofCall = new Metadata();
    Headers.add(ofCall, "authorization", "Bearer call");
    assertEquals(List.of("Bearer file"), authorizations(none, none, token));
    assertEquals(List.of("Bearer client"), authorizations(ofClient, none, token));
    assertEquals(List.of("Bearer call"), authorizations(none, ofCall, token));
    assertEquals(List.of("Bearer call"), authorizations(ofClient, ofCall, token));
  }

  private static List<String> authorizations(Metadata ofClient, Metadata ofCall, TokenFile token) {
    Metadata sent = Headers.joined(ofClient, ofCall);
    Headers.authorize(sent, token);
    List<String> found = new ArrayList<>();
    sent.getAll(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER)).forEach(found::add);
    return found;
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "grüße", "line\nline"})
  void whatCannotBeSentIsRefused(String value) {
    assertThrows(IllegalArgumentException.class, () -> RequestOptions.DEFAULT.withMetadata("x-team", value));
    if (!value.isEmpty()) {
      assertThrows(IllegalArgumentException.class, () -> gateway.client().account(value));
    }
    assertThrows(IllegalArgumentException.class, () -> RequestOptions.DEFAULT.withMetadata("no name", "value"));
  }

  @Test
  void whatDoesNotGoTogetherIsRefused(@TempDir Path folder) throws IOException {
    Path file = Files.writeString(folder.resolve("token"), "secret");
    AllocationClient.Builder token = gateway.client().tokenFile(file);
    assertThrows(IllegalStateException.class, token::build);
    AllocationClient.Builder insecure =
        AllocationClient.builder("gateway.example").credentials(InsecureChannelCredentials.create()).tokenFile(file);
    assertThrows(IllegalStateException.class, insecure::build);
    AllocationClient.Builder authority = gateway.client().trustedCertificates(file);
    assertThrows(IllegalStateException.class, authority::build);
    AllocationClient.Builder both =
        AllocationClient.builder("gateway.example")
            .trustedCertificates(file)
            .credentials(InsecureChannelCredentials.create());
    assertThrows(IllegalStateException.class, both::build);
    AllocationClient.Builder incomplete = gateway.client().serviceConfig("{}");
    assertThrows(IllegalArgumentException.class, incomplete::build);
    for (Duration timeout : List.of(Duration.ZERO, Duration.ofNanos(-1), Duration.ofDays(367))) {
      assertThrows(IllegalArgumentException.class, () -> gateway.client().timeout(timeout));
      assertThrows(IllegalArgumentException.class, () -> RequestOptions.DEFAULT.withTimeout(timeout));
      assertThrows(IllegalArgumentException.class, () -> JobOptions.within(timeout));
    }
  }
}

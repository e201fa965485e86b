import com.google.protobuf.DynamicMessage;
import com.google.rpc.ErrorInfo;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import io.grpc.reflection.v1.ServerReflectionRequest;
import io.grpc.reflection.v1.ServerReflectionResponse;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Calls a running gateway by grpc-java, in the ways in which its server could fail a client. Prints a line for each.
 *
 * <p>Usage: Calls TRANSPORT ADDRESS CONTRACT [AUTHORITY [CERTIFICATE KEY]]. What upstream answers depends on how the
 * reference begins: large_, slow_, missing_, or anything else.
 */
final class Calls {
  private static final int LARGE = 200_000;
  private static final int BEYOND = 300_000;
  private static final int SECONDS = 20;
  private static final int CANCELLATIONS = 50;

  private final Gateway gateway;

  private Calls(Gateway gateway) {
    this.gateway = gateway;
  }

  private interface Case {
    void run() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    List<String> files = Arrays.asList(arguments).subList(3, arguments.length);
    Gateway gateway = new Gateway(arguments[0], arguments[1], Path.of(arguments[2]), files);
    Calls calls = new Calls(gateway);
    Map<String, Case> cases = new LinkedHashMap<>();
    cases.put("unary", calls::unary);
    cases.put("details", calls::details);
    cases.put("deadline", calls::deadline);
    cases.put("cancellation", calls::cancellation);
    cases.put("gzip", calls::gzip);
    cases.put("too large", calls::tooLarge);
    cases.put("health", calls::health);
    cases.put("reflection", calls::reflection);
    for (Map.Entry<String, Case> one : cases.entrySet()) {
      one.getValue().run();
      System.out.println(one.getKey());
    }
    gateway.channel.shutdown();
    check(gateway.channel.awaitTermination(SECONDS, TimeUnit.SECONDS), "the channel does not end");
  }

  private static CallOptions options() {
    return CallOptions.DEFAULT.withDeadlineAfter(SECONDS, TimeUnit.SECONDS);
  }

  private void unary() {
    check(!gateway.read("sp_1", options()).isEmpty(), "no state");
    for (int round = 0; round < 5; round++) {
      check(gateway.read("large_1", options()).length() == LARGE, "the answer is cut short");
    }
  }

  private void details() throws Exception {
    StatusRuntimeException failure = failure("missing_ü", options());
    check(failure.getStatus().getCode() == Status.Code.NOT_FOUND, failure);
    ErrorInfo info = StatusProto.fromThrowable(failure).getDetails(0).unpack(ErrorInfo.class);
    check(info.getReason().equals("RESOURCE_NOT_FOUND"), info);
  }

  private void deadline() {
    StatusRuntimeException failure =
        failure("slow_1", CallOptions.DEFAULT.withDeadlineAfter(300, TimeUnit.MILLISECONDS));
    check(failure.getStatus().getCode() == Status.Code.DEADLINE_EXCEEDED, failure);
  }

  private void cancellation() throws Exception {
    for (int number = 0; number < CANCELLATIONS; number++) {
      CompletableFuture<Status> ended = new CompletableFuture<>();
      ClientCall<DynamicMessage, DynamicMessage> call = gateway.call(options());
      call.start(
          new ClientCall.Listener<>() {
            @Override
            public void onClose(Status status, Metadata trailers) {
              ended.complete(status);
            }
          },
          new Metadata());
      call.sendMessage(gateway.request("slow_2"));
      call.halfClose();
      call.request(1);
      Thread.sleep(5); // so that some of them have reached upstream, and others have not
      call.cancel("given up", null);
      Status status = ended.get(SECONDS, TimeUnit.SECONDS);
      check(status.getCode() == Status.Code.CANCELLED, status);
    }
    unary();
  }

  private void gzip() {
    // It was read, since a name is not so long.
    StatusRuntimeException failure = failure("x".repeat(LARGE), options().withCompression("gzip"));
    check(failure.getStatus().getCode() == Status.Code.INVALID_ARGUMENT, failure);
    check(!gateway.read("sp_gzip", options().withCompression("gzip")).isEmpty(), "no state");
  }

  private void tooLarge() {
    for (CallOptions options : List.of(options(), options().withCompression("gzip"))) {
      StatusRuntimeException failure = failure("x".repeat(BEYOND), options);
      check(failure.getStatus().getCode() == Status.Code.RESOURCE_EXHAUSTED, failure);
    }
    unary();
  }

  private void health() throws Exception {
    Told<HealthCheckResponse> told = new Told<>();
    HealthGrpc.newStub(gateway.channel)
        .withDeadlineAfter(1, TimeUnit.SECONDS)
        .watch(HealthCheckRequest.getDefaultInstance(), told);
    check(told.next().getStatus() == HealthCheckResponse.ServingStatus.SERVING, told);
    // It is watched until its time is up.
    check(Status.fromThrowable(told.failure()).getCode() == Status.Code.DEADLINE_EXCEEDED, told);
  }

  private void reflection() throws Exception {
    Told<ServerReflectionResponse> told = new Told<>();
    StreamObserver<ServerReflectionRequest> asked =
        ServerReflectionGrpc.newStub(gateway.channel)
            .withDeadlineAfter(SECONDS, TimeUnit.SECONDS)
            .serverReflectionInfo(told);
    for (int round = 0; round < 3; round++) {
      asked.onNext(ServerReflectionRequest.newBuilder().setListServices("*").build());
      String services = told.next().getListServicesResponse().toString();
      check(services.contains("ShipmentAllocationService"), services);
    }
    asked.onCompleted();
    check(told.failure() == null, told);
  }

  private StatusRuntimeException failure(String reference, CallOptions options) {
    try {
      gateway.read(reference, options);
    } catch (StatusRuntimeException failure) {
      return failure;
    }
    throw new AssertionError("it did not fail");
  }

  private static void check(boolean holds, Object otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }

  /** What a stream was told, one by one, and how it ended. */
  private static final class Told<T> implements StreamObserver<T> {
    private final BlockingQueue<T> messages = new ArrayBlockingQueue<>(100);
    private final CompletableFuture<Throwable> ended = new CompletableFuture<>();

    @Override
    public void onNext(T message) {
      messages.add(message);
    }

    @Override
    public void onError(Throwable failure) {
      ended.complete(failure);
    }

    @Override
    public void onCompleted() {
      ended.complete(null);
    }

    T next() throws InterruptedException {
      T message = messages.poll(SECONDS, TimeUnit.SECONDS);
      check(message != null, "nothing came: " + ended);
      return message;
    }

    Throwable failure() throws Exception {
      return ended.get(SECONDS, TimeUnit.SECONDS);
    }
  }
}

import com.allocationgateway.allocation.v1.AllocateConsignmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentStreamRequest;
import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.ConsignmentAllocation;
import com.allocationgateway.allocation.v1.ConsignmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ServiceGroupServiceGrpc;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.WatchConsignmentAllocationsRequest;
import com.allocationgateway.allocation.v1.WatchShipmentAllocationsRequest;
import com.allocationgateway.client.AllocationClient;
import com.allocationgateway.client.AllocationException;
import com.allocationgateway.client.JobOptions;
import com.allocationgateway.client.JobStream;
import com.allocationgateway.client.Money;
import com.allocationgateway.client.Outcome;
import com.allocationgateway.client.OutcomeKind;
import com.allocationgateway.client.RequestOptions;
import com.allocationgateway.client.ResultStream;
import com.allocationgateway.client.Standing;
import com.allocationgateway.client.UnfinishedJobException;
import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.grpc.Context;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.InterruptedIOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;

/** The driver of the Java client: one call for each line of standard input, one line of standard output for each. */
final class Driver {
  private static final double MILLIS_OF_SECOND = 1000;
  private static final Duration LASTING = Duration.ofMinutes(1);
  private static final Set<String> KNOWN = Set.of("streams", "account", "cancel");
  private static final Map<String, Message> REQUESTS = requests();
  private static final JsonFormat.TypeRegistry TYPES = types();
  private static final BufferedReader LINES =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private Driver() {}

  private static List<ServiceDescriptor> services() {
    return List.of(
        ShipmentAllocationServiceGrpc.getServiceDescriptor(),
        ConsignmentAllocationServiceGrpc.getServiceDescriptor(),
        ServiceGroupServiceGrpc.getServiceDescriptor());
  }

  private static Map<String, Message> requests() {
    Map<String, Message> found = new HashMap<>();
    for (ServiceDescriptor service : services()) {
      for (MethodDescriptor<?, ?> method : service.getMethods()) {
        PrototypeMarshaller<?> marshaller = (PrototypeMarshaller<?>) method.getRequestMarshaller();
        found.put(method.getFullMethodName(), (Message) marshaller.getMessagePrototype());
      }
    }
    return found;
  }

  private static JsonFormat.TypeRegistry types() {
    JsonFormat.TypeRegistry.Builder types = JsonFormat.TypeRegistry.newBuilder();
    REQUESTS.values().forEach(one -> types.add(one.getDescriptorForType()));
    return types.build();
  }

  private static JsonElement fields(Message message) {
    try {
      return JsonParser.parseString(
          JsonFormat.printer().preservingProtoFieldNames().usingTypeRegistry(TYPES).print(message));
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalStateException(error);
    }
  }

  private static JsonArray all(List<? extends Message> messages) {
    JsonArray made = new JsonArray();
    messages.forEach(one -> made.add(fields(one)));
    return made;
  }

  private static String amount(Message response, String path) {
    Object found = response;
    for (String name : path.split("\\.")) {
      Message message = (Message) found;
      found = message.getField(message.getDescriptorForType().findFieldByName(name));
    }
    return Money.of((com.google.type.Money) found).toString();
  }

  private static void add(JsonObject told, String name, Optional<? extends Message> message) {
    message.ifPresent(one -> told.add(name, fields(one)));
  }

  private static JsonObject told(AllocationException error) {
    JsonObject told = new JsonObject();
    told.addProperty("kind", error.getClass().getSimpleName().replaceAll("Exception$", ""));
    told.addProperty("code", error.getCode().name());
    told.addProperty("reason", error.getReason());
    told.addProperty("message", error.getDetails().getText());
    told.addProperty("effect", error.getEffect());
    told.addProperty("request_id", error.getRequestId());
    told.addProperty("account", error.getAccount());
    if (error instanceof UnfinishedJobException) {
      UnfinishedJobException unfinished = (UnfinishedJobException) error;
      told.addProperty("job_id", unfinished.getJobId());
      told.add("unanswered", new Gson().toJsonTree(unfinished.getUnanswered()));
    }
    told.add("metadata", new Gson().toJsonTree(error.getMetadata()));
    error.getRetryAfter().ifPresent(after -> told.addProperty("retry_after", after.toMillis() / MILLIS_OF_SECOND));
    told.add("field_violations", all(error.getFieldViolations()));
    told.add("excluded_services", all(error.getExcludedServices()));
    told.addProperty("omitted_services", error.getOmittedServices());
    error.getResource().ifPresent(one -> {
      JsonObject resource = new JsonObject();
      resource.addProperty("kind", one.getResourceType());
      resource.addProperty("name", one.getResourceName());
      told.add("resource", resource);
    });
    add(told, "allocation", error.getAllocation());
    add(told, "consignment_allocation", error.getConsignmentAllocation());
    add(told, "failed_allocation", error.getFailedAllocation());
    add(told, "progress", error.getProgress());
    return told;
  }

  /** What a case has the items of a job throw. */
  private static final class ItemsFailedException extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /** How a case has its caller give the items of a job. */
  private static final class Giving {
    final AtomicInteger taken = new AtomicInteger();
    private final JsonObject asked;

    Giving(JsonObject asked) {
      this.asked = asked;
    }

    private boolean isAt(String name) {
      return asked.has(name) && asked.get(name).getAsInt() == taken.get();
    }

    <T> Iterable<T> all(List<T> items) {
      Iterator<T> left = items.iterator();
      return () -> new Iterator<>() {
        @Override
        public boolean hasNext() {
          return left.hasNext();
        }

        @Override
        public T next() {
          if (isAt("throw")) {
            throw new ItemsFailedException();
          }
          if (isAt("hold")) {
            try {
              LINES.readLine();
            } catch (IOException error) {
              throw new UncheckedIOException(error);
            }
          }
          taken.incrementAndGet();
          return left.next();
        }
      };
    }
  }

  /** What was told of items, by their references. */
  private static final class Outcomes {
    private static final Map<OutcomeKind, String> NAMES =
        Map.of(
            OutcomeKind.ALLOCATED, "allocation",
            OutcomeKind.QUEUED, "queued",
            OutcomeKind.REFUSED, "refusal",
            OutcomeKind.UNKNOWN, "unknown");

    final JsonObject found = new JsonObject();

    <A> void addAll(JobStream<A> told) {
      for (Outcome<A> one : told) {
        add(one.getReference(), NAMES.get(one.getKind()), one.getGross(), one.getError());
      }
    }

    <A> void addAll(ResultStream<Standing<A>> told) {
      for (Standing<A> one : told) {
        if (one.isFinal()) {
          String name = one.getError().isPresent() ? "error" : "allocation";
          add(one.getReference(), name, one.getGross(), one.getError());
        }
      }
    }

    private void add(String reference, String name, Optional<Money> gross, Optional<AllocationException> error) {
      JsonObject one = new JsonObject();
      one.addProperty("outcome", name);
      gross.ifPresent(amount -> one.addProperty("gross", amount.toString()));
      error.ifPresent(why -> one.addProperty("reason", why.getReason()));
      if (!found.has(reference)) {
        found.add(reference, new JsonArray());
      }
      found.getAsJsonArray(reference).add(one);
    }
  }

  private static JobOptions options(AllocationJob job, JsonObject asked, Duration within) {
    JobOptions options = JobOptions.within(within).withWaitFor(job.getWaitFor());
    if (!job.getJobId().isEmpty()) {
      options = options.withJobId(job.getJobId());
    }
    if (job.hasSelector()) {
      options = options.withSelector(job.getSelector());
    }
    return account(asked).map(options::withAccount).orElse(options);
  }

  /** Carries out a call that lasts, and adds what was told. Returns false if it is no such call. */
  private static boolean lasts(
      AllocationClient client, Message request, RequestOptions options, Giving giving, Outcomes all) {
    JsonObject asked = giving.asked;
    Duration within = asked.has("timeout") ? timeout(asked) : LASTING;
    if (request instanceof AllocateShipmentStreamRequest) {
      AllocateShipmentStreamRequest job = (AllocateShipmentStreamRequest) request;
      try (JobStream<Allocation> told =
          client.shipments().allocateAll(giving.all(job.getItemsList()), options(job.getJob(), asked, within))) {
        all.addAll(told);
      }
    } else if (request instanceof AllocateConsignmentStreamRequest) {
      AllocateConsignmentStreamRequest job = (AllocateConsignmentStreamRequest) request;
      try (JobStream<ConsignmentAllocation> told =
          client.consignments().allocateAll(giving.all(job.getItemsList()), options(job.getJob(), asked, within))) {
        all.addAll(told);
      }
    } else if (request instanceof WatchShipmentAllocationsRequest) {
      WatchShipmentAllocationsRequest watch = (WatchShipmentAllocationsRequest) request;
      try (ResultStream<Standing<Allocation>> told =
          client.shipments().watch(watch.getShipmentReferencesList(), within, options)) {
        all.addAll(told);
      }
    } else if (request instanceof WatchConsignmentAllocationsRequest) {
      WatchConsignmentAllocationsRequest watch = (WatchConsignmentAllocationsRequest) request;
      try (ResultStream<Standing<ConsignmentAllocation>> told =
          client.consignments().watch(watch.getConsignmentReferencesList(), within, options)) {
        all.addAll(told);
      }
    } else {
      return false;
    }
    return true;
  }

  private static Optional<String> account(JsonObject asked) {
    return Optional.ofNullable(asked.get("account")).map(JsonElement::getAsString);
  }

  private static Duration timeout(JsonObject asked) {
    return Duration.ofMillis(Math.round(asked.get("timeout").getAsDouble() * MILLIS_OF_SECOND));
  }

  private static JsonObject answer(JsonObject asked) throws IOException {
    JsonObject answered = new JsonObject();
    if (asked.has("needs") && !KNOWN.contains(asked.get("needs").getAsString())) {
      answered.add("lacks", asked.get("needs"));
      return answered;
    }
    Message.Builder builder = REQUESTS.get("allocation.v1." + asked.get("rpc").getAsString()).newBuilderForType();
    JsonFormat.parser().usingTypeRegistry(TYPES).merge(asked.get("request").toString(), builder);
    Message request = builder.build();
    Giving giving = new Giving(asked);
    Outcomes outcomes = new Outcomes();
    AllocationClient.Builder connecting =
        AllocationClient.builder(asked.get("address").getAsString()).plaintext();
    all(asked, "client_metadata").forEach((name, value) -> connecting.metadata(name, value.getAsString()));
    try (AllocationClient client = connecting.build();
        Ending ended = new Ending(client, asked)) {
      RequestOptions options = RequestOptions.DEFAULT;
      if (asked.has("timeout")) {
        options = options.withTimeout(timeout(asked));
      }
      options = account(asked).map(options::withAccount).orElse(options);
      for (Map.Entry<String, JsonElement> one : all(asked, "metadata").entrySet()) {
        options = options.withMetadata(one.getKey(), one.getValue().getAsString());
      }
      if (lasts(client, request, options, giving, outcomes)) {
        answered.add("outcomes", outcomes.found);
        return answered;
      }
      RequestOptions chosen = options;
      Message response = ended.context.call(() -> client.call(request, chosen));
      answered.add("result", fields(response));
      JsonObject money = new JsonObject();
      asked.getAsJsonArray("money").forEach(
          path -> money.addProperty(path.getAsString(), amount(response, path.getAsString())));
      answered.add("money", money);
    } catch (ItemsFailedException failed) {
      JsonObject error = new JsonObject();
      error.addProperty("kind", "Items");
      answered.add("outcomes", outcomes.found);
      answered.add("error", error);
    } catch (AllocationException error) {
      JsonObject told = told(error);
      if (error.getCause() instanceof ItemsFailedException) {
        told.addProperty("cause", "Items");
      }
      answered.add("error", told);
      answered.addProperty("taken", giving.taken.get());
    } catch (CancellationException cancelled) {
      answered.add("error", kind("Cancelled", cancelled));
    } catch (IllegalStateException closed) {
      answered.add("error", kind("Closed", closed));
    } catch (Exception local) {
      answered.add("error", kind("Local", local));
    }
    return answered;
  }

  private static JsonObject kind(String name, Exception error) {
    JsonObject made = new JsonObject();
    made.addProperty("kind", name);
    made.addProperty("message", error.toString());
    return made;
  }

  private static Map<String, JsonElement> all(JsonObject asked, String name) {
    return asked.has(name) ? asked.getAsJsonObject(name).asMap() : Map.of();
  }

  /** Has a call ended from outside as a case says: when a line comes, or before it. */
  private static final class Ending implements AutoCloseable {
    final Context.CancellableContext context = Context.current().withCancellation();
    private final Thread waiting;

    Ending(AllocationClient client, JsonObject asked) {
      String how = asked.has("end") ? asked.get("end").getAsString() : "";
      if (how.equals("closed")) {
        client.close();
      }
      waiting = new Thread(() -> end(client, how));
      if (how.equals("cancel") || how.equals("close")) {
        waiting.start();
      }
    }

    private void end(AllocationClient client, String how) {
      try {
        LINES.readLine();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
      if (how.equals("cancel")) {
        context.cancel(null);
      } else {
        client.close();
      }
    }

    @Override
    public void close() throws IOException {
      try {
        waiting.join();
      } catch (InterruptedException interrupted) {
        throw new InterruptedIOException();
      }
      context.close();
    }
  }

  public static void main(String[] arguments) throws IOException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = LINES.readLine(); line != null; line = LINES.readLine()) {
      out.println(answer(JsonParser.parseString(line).getAsJsonObject()));
    }
  }
}

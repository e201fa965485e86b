import com.allocationgateway.allocation.v1.AllocateConsignmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.ConsignmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ConsignmentOutcome;
import com.allocationgateway.allocation.v1.ConsignmentStanding;
import com.allocationgateway.allocation.v1.ServiceGroupServiceGrpc;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc;
import com.allocationgateway.allocation.v1.ShipmentOutcome;
import com.allocationgateway.allocation.v1.ShipmentStanding;
import com.allocationgateway.allocation.v1.WatchConsignmentAllocationsRequest;
import com.allocationgateway.allocation.v1.WatchShipmentAllocationsRequest;
import com.allocationgateway.client.AllocationClient;
import com.allocationgateway.client.AllocationException;
import com.allocationgateway.client.ErrorDetails;
import com.allocationgateway.client.JobOptions;
import com.allocationgateway.client.Money;
import com.allocationgateway.client.RequestOptions;
import com.allocationgateway.client.ResultStream;
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
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
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
import java.util.concurrent.atomic.AtomicInteger;

/** The driver of the Java client: one call for each line of standard input, one line of standard output for each. */
final class Driver {
  private static final double MILLIS_OF_SECOND = 1000;
  private static final Duration LASTING = Duration.ofMinutes(1);
  private static final Set<String> KNOWN = Set.of("streams", "account");
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

  /** What was told of items, by their references: of each by the field that is set of the one with this name. */
  private static final class Outcomes {
    final JsonObject found = new JsonObject();

    void add(Message told, String reference, String choice) {
      FieldDescriptor set =
          told.getOneofFieldDescriptor(
              told.getDescriptorForType().getOneofs().stream()
                  .filter(one -> one.getName().equals(choice))
                  .findFirst()
                  .orElseThrow());
      JsonObject one = new JsonObject();
      one.addProperty("outcome", set.getName());
      Object value = told.getField(set);
      if (value instanceof com.google.rpc.Status) {
        one.addProperty("reason", ErrorDetails.of((com.google.rpc.Status) value).getReason());
      } else if (value instanceof Message) {
        gross((Message) value).ifPresent(amount -> one.addProperty("gross", amount));
      }
      if (!found.has(reference)) {
        found.add(reference, new JsonArray());
      }
      found.getAsJsonArray(reference).add(one);
    }

    private static Optional<String> gross(Message allocation) {
      FieldDescriptor field = allocation.getDescriptorForType().findFieldByName("price");
      if (field == null || !allocation.hasField(field)) {
        return Optional.empty();
      }
      Message price = (Message) allocation.getField(field);
      return price.hasField(price.getDescriptorForType().findFieldByName("gross"))
          ? Optional.of(amount(price, "gross"))
          : Optional.empty();
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
      try (ResultStream<ShipmentOutcome> told =
          client.shipments().allocateAll(giving.all(job.getItemsList()), options(job.getJob(), asked, within))) {
        told.forEach(one -> all.add(one, one.getShipmentReference(), "outcome"));
      }
    } else if (request instanceof AllocateConsignmentStreamRequest) {
      AllocateConsignmentStreamRequest job = (AllocateConsignmentStreamRequest) request;
      try (ResultStream<ConsignmentOutcome> told =
          client.consignments().allocateAll(giving.all(job.getItemsList()), options(job.getJob(), asked, within))) {
        told.forEach(one -> all.add(one, one.getConsignmentReference(), "outcome"));
      }
    } else if (request instanceof WatchShipmentAllocationsRequest) {
      WatchShipmentAllocationsRequest watch = (WatchShipmentAllocationsRequest) request;
      try (ResultStream<ShipmentStanding> told =
          client.shipments().watch(watch.getShipmentReferencesList(), within, options)) {
        for (ShipmentStanding one : told) {
          if (one.getFinal()) {
            all.add(one, one.getShipmentReference(), "standing");
          }
        }
      }
    } else if (request instanceof WatchConsignmentAllocationsRequest) {
      WatchConsignmentAllocationsRequest watch = (WatchConsignmentAllocationsRequest) request;
      try (ResultStream<ConsignmentStanding> told =
          client.consignments().watch(watch.getConsignmentReferencesList(), within, options)) {
        for (ConsignmentStanding one : told) {
          if (one.getFinal()) {
            all.add(one, one.getConsignmentReference(), "standing");
          }
        }
      }
    } else {
      return false;
    }
    return true;
  }

  private static Optional<String> account(JsonObject asked) {
    return Optional.ofNullable(asked.get("account")).map(JsonElement::getAsString).filter(name -> !name.isEmpty());
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
    RequestOptions options = RequestOptions.DEFAULT;
    if (asked.has("timeout")) {
      options = options.withTimeout(timeout(asked));
    }
    options = account(asked).map(options::withAccount).orElse(options);
    if (asked.has("metadata")) {
      for (Map.Entry<String, JsonElement> one : asked.getAsJsonObject("metadata").entrySet()) {
        options = options.withMetadata(one.getKey(), one.getValue().getAsString());
      }
    }
    Giving giving = new Giving(asked);
    Outcomes outcomes = new Outcomes();
    try (AllocationClient client =
        AllocationClient.builder(asked.get("address").getAsString()).plaintext().build()) {
      if (lasts(client, request, options, giving, outcomes)) {
        answered.add("outcomes", outcomes.found);
        return answered;
      }
      Message response = client.call(request, options);
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
    }
    return answered;
  }

  public static void main(String[] arguments) throws IOException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = LINES.readLine(); line != null; line = LINES.readLine()) {
      out.println(answer(JsonParser.parseString(line).getAsJsonObject()));
    }
  }
}

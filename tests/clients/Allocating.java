import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.ShipmentItem;
import com.allocationgateway.client.AllocationClient;
import com.allocationgateway.client.JobOptions;
import com.allocationgateway.client.JobStream;
import com.allocationgateway.client.Outcome;
import com.allocationgateway.client.ResultStream;
import com.allocationgateway.client.Standing;
import com.allocationgateway.client.UnfinishedJobException;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;

/** Allocates shipments by the Java client, and prints a line for each outcome, and one for what ended it. */
final class Allocating {
  private Allocating() {}

  public static void main(String[] arguments) {
    JsonObject told = JsonParser.parseString(arguments[0]).getAsJsonObject();
    Duration timeout = Duration.ofMillis(told.get("timeoutMs").getAsLong());
    List<String> references =
        StreamSupport.stream(told.getAsJsonArray("references").spliterator(), false)
            .map(one -> one.getAsString())
            .collect(Collectors.toList());
    Iterable<ShipmentItem> items =
        () -> references.stream().map(one -> ShipmentItem.newBuilder().setShipmentReference(one).build()).iterator();
    JobOptions options = JobOptions.within(timeout).withJobId(told.get("jobId").getAsString());
    try (AllocationClient client = AllocationClient.builder(told.get("address").getAsString()).plaintext().build();
        JobStream<Allocation> outcomes = client.shipments().allocateAll(items, options);
        ResultStream<Standing<Allocation>> standings = client.shipments().watch(references, timeout)) {
      for (Outcome<Allocation> one : outcomes) {
        System.out.println(one.getKind().name().toLowerCase(Locale.ROOT) + " " + one.getReference());
      }
      for (Standing<Allocation> one : standings) {
        System.out.println((one.isFinal() ? "final " : "open ") + one.getReference());
      }
    } catch (UnfinishedJobException error) {
      System.out.println("unfinished " + error.getJobId() + " " + error.getUnanswered().size());
    }
  }
}

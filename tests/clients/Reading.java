import com.allocationgateway.allocation.v1.GetShipmentAllocationRequest;
import com.allocationgateway.client.AllocationClient;
import com.allocationgateway.client.AllocationException;
import com.allocationgateway.client.RequestOptions;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** Reads a shipment by the Java client: a call for each line of standard input, a line of standard output for each. */
final class Reading {
  private static final GetShipmentAllocationRequest REQUEST =
      GetShipmentAllocationRequest.newBuilder().setShipmentReference("sp_00794403010635468411384028069888").build();

  private Reading() {}

  private static AllocationClient client(JsonObject told) {
    AllocationClient.Builder builder = AllocationClient.builder(told.get("address").getAsString());
    if (told.has("plaintext")) {
      builder.plaintext();
    }
    if (told.has("ca")) {
      builder.trustedCertificates(Path.of(told.get("ca").getAsString()));
    }
    if (told.has("cert")) {
      builder.clientCertificate(Path.of(told.get("cert").getAsString()), Path.of(told.get("key").getAsString()));
    }
    if (told.has("serverName")) {
      builder.serverName(told.get("serverName").getAsString());
    }
    if (told.has("tokenFile")) {
      builder.tokenFile(Path.of(told.get("tokenFile").getAsString()));
    }
    if (told.has("timeoutMs")) {
      builder.timeout(Duration.ofMillis(told.get("timeoutMs").getAsLong()));
    }
    if (told.has("metadata")) {
      told.getAsJsonObject("metadata").entrySet().forEach(
          one -> builder.metadata(one.getKey(), one.getValue().getAsString()));
    }
    return builder.build();
  }

  private static RequestOptions options(JsonObject told) {
    RequestOptions options = RequestOptions.DEFAULT;
    if (told.has("timeoutMs")) {
      options = options.withTimeout(Duration.ofMillis(told.get("timeoutMs").getAsLong()));
    }
    if (told.has("metadata")) {
      for (Map.Entry<String, JsonElement> one : told.getAsJsonObject("metadata").entrySet()) {
        options = options.withMetadata(one.getKey(), one.getValue().getAsString());
      }
    }
    return options;
  }

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (AllocationClient client = client(JsonParser.parseString(arguments[0]).getAsJsonObject())) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        RequestOptions options = options(JsonParser.parseString(line).getAsJsonObject());
        try {
          System.out.println(
              client.shipments().getShipmentAllocation(REQUEST, options).getAllocation().getShipmentReference());
        } catch (AllocationException error) {
          System.out.println(error.getClass().getSimpleName());
        }
      }
    }
  }
}

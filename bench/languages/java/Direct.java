import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeoutException;

/** Calls the REST API. What is safe to repeat is repeated; where an answer was lost, the shipment is read. */
final class Direct {
  private static final Duration WHOLE = Duration.ofMinutes(1);
  private static final Duration ATTEMPT = Duration.ofSeconds(20);
  // What upstream may take to show that a request was carried out after its answer was lost.
  private static final Duration SETTLING = Duration.ofSeconds(10);
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);

  private final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private final String address;

  private Direct(String address) {
    this.address = address;
  }

  static Main.Allocate open(String address) {
    return new Direct(address)::allocate;
  }

  private Allocated allocate(String shipment, String group) throws Exception {
    long end = System.nanoTime() + WHOLE.toNanos();
    String reading = "/shipments/" + escaped(shipment);
    boolean inDoubt = false;
    long sent = 0;
    for (long pause = 100; ; pause = Math.min(pause * 2, 5000)) {
      String path = inDoubt ? reading : reading + "/allocate/service_group/" + escaped(group);
      if (!inDoubt) {
        sent = System.nanoTime();
      }
      JsonNode read = null;
      int status = 0;
      long after = 0;
      try {
        HttpResponse<byte[]> answer = send(inDoubt ? "GET" : "PUT", path, end);
        status = answer.statusCode();
        after = answer.headers().firstValueAsLong("retry-after").orElse(0) * 1000;
        read = status == 200 ? JSON.readTree(answer.body()) : null;
      } catch (JsonProcessingException unreadable) {
        status = 0;
      } catch (IOException lost) {
        // It may have been carried out.
      }
      if (read != null && (!inDoubt || read.path("state").asText().equals("allocated"))) {
        JsonNode found = inDoubt ? read.path("allocation") : read;
        return new Allocated(
            found.path("carrier").path("name").asText(), found.path("price").path("gross").decimalValue());
      }
      if (inDoubt) {
        // Whoever has allocated it, nobody can tell; that it is not allocated is believed in the end.
        inDoubt = !(read != null && System.nanoTime() - sent > SETTLING.toNanos());
      } else if (status == 0 || status >= 500) {
        inDoubt = true;
      } else if (status != 429) {
        throw new IllegalStateException("upstream refused it with " + status);
      }
      long wait = Math.max((long) (pause * ThreadLocalRandom.current().nextDouble(0.5, 1.5)), after);
      if (System.nanoTime() + wait * 1_000_000 > end) {
        throw new TimeoutException(
            inDoubt ? "it is not known whether the shipment was allocated" : "the time is over");
      }
      Thread.sleep(wait);
    }
  }

  private HttpResponse<byte[]> send(String method, String path, long end) throws IOException, InterruptedException {
    long nanos = Math.max(Math.min(ATTEMPT.toNanos(), end - System.nanoTime()), 1);
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(address + path))
            .method(method, HttpRequest.BodyPublishers.noBody())
            .header("x-api-key", "sandbox-key")
            .header("x-api-version", "1.1")
            .timeout(Duration.ofNanos(nanos))
            .build();
    return client.send(request, HttpResponse.BodyHandlers.ofByteArray());
  }

  private static String escaped(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
  }
}

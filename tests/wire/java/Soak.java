import io.grpc.CallOptions;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Calls gateways for some time over many routes, and has each call that finds none tried again. Prints a line for each.
 *
 * <p>Usage: Soak SECONDS PAUSE ATTEMPTS CONTRACT AUTHORITY ROUTE... A route is its name, = and its addresses, of which
 * the next one is tried after a failure; TLS is used if the name begins with tls. A line has the name, and how many
 * calls were made, tried again, and lost; then what the lost ones were told.
 */
final class Soak {
  private static final int DEADLINE_SECONDS = 10;
  private static final String[] TRANSPORTS = {"netty", "okhttp"};

  private Soak() {}

  public static void main(String[] arguments) throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(arguments[0]));
    List<Thread> threads = new ArrayList<>();
    for (int number = 5; number < arguments.length; number++) {
      for (String transport : TRANSPORTS) {
        String route = arguments[number];
        Thread thread =
            new Thread(
                () -> {
                  try {
                    follow(transport, route, end, arguments);
                  } catch (Exception failure) {
                    throw new IllegalStateException(route, failure);
                  }
                });
        thread.start();
        threads.add(thread);
      }
    }
    for (Thread thread : threads) {
      thread.join();
    }
  }

  private static void follow(String transport, String route, long end, String[] arguments) throws Exception {
    String[] parts = route.split("=");
    List<String> files = parts[0].startsWith("tls") ? List.of(arguments[4]) : List.of();
    List<Gateway> gateways = new ArrayList<>();
    for (String address : parts[1].split(",")) {
      gateways.add(new Gateway(transport, address, Path.of(arguments[3]), files));
    }
    long pause = Long.parseLong(arguments[1]);
    int attempts = Integer.parseInt(arguments[2]);
    int calls = 0;
    int again = 0;
    int lost = 0;
    StringBuilder told = new StringBuilder();
    for (; System.nanoTime() < end; calls++) {
      for (int attempt = 1; ; attempt++) {
        Gateway gateway = gateways.get((calls + attempt) % gateways.size());
        try {
          gateway.read("sp_" + calls, CallOptions.DEFAULT.withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS));
          break;
        } catch (StatusRuntimeException failure) {
          if (failure.getStatus().getCode() != Status.Code.UNAVAILABLE || attempt == attempts) {
            lost++;
            told.append(' ').append(failure.getStatus());
            break;
          }
          again++;
          Thread.sleep(pause << attempt);
        }
      }
      Thread.sleep(pause);
    }
    for (Gateway gateway : gateways) {
      gateway.channel.shutdownNow();
    }
    System.out.println(transport + " " + parts[0] + " " + calls + " " + again + " " + lost + told);
  }
}

import java.util.Map;
import java.util.Scanner;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.ArrayList;
import java.util.List;

/**
 * Allocates shipments in one of several ways, for bench/saving.py to see what that takes.
 *
 * <p>Usage: Main WAY ADDRESS PREFIX GROUP IN_FLIGHT WARM_UP CALLS. References are the prefix and twelve digits. It says
 * "ready" when it is warm, makes its calls when a line has come, and says "done" with the carrier and the price of one of
 * them. Then it waits until its input ends.
 */
final class Main {
  private static final Map<String, Function<String, Allocate>> WAYS =
      Map.of("client", ByClient::open, "stub", ByStub::open, "direct", Direct::open);

  private Main() {}

  /** Allocates a shipment. */
  interface Allocate {
    Allocated allocate(String shipment, String group) throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    Allocate way = WAYS.get(arguments[0]).apply(arguments[1]);
    int inFlight = Integer.parseInt(arguments[4]);
    AtomicInteger last = new AtomicInteger();
    ExecutorService workers = Executors.newFixedThreadPool(inFlight);
    Scanner input = new Scanner(System.in);
    for (int phase = 0; phase < 2; phase++) {
      int count = Integer.parseInt(arguments[5 + phase]);
      AtomicInteger taken = new AtomicInteger();
      List<Future<Allocated>> running = new ArrayList<>();
      for (int worker = 0; worker < inFlight; worker++) {
        running.add(
            workers.submit(
                () -> {
                  Allocated told = null;
                  while (taken.incrementAndGet() <= count) {
                    String shipment = arguments[2] + String.format("%012d", last.incrementAndGet());
                    told = way.allocate(shipment, arguments[3]);
                  }
                  return told;
                }));
      }
      Allocated told = null;
      for (Future<Allocated> one : running) {
        told = one.get() == null ? told : one.get();
      }
      System.out.println(phase == 0 ? "ready" : "done " + told.carrier + " " + told.price);
      if (input.hasNextLine()) {
        input.nextLine();
      }
    }
    System.exit(0);
  }
}

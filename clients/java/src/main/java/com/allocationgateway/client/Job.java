package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationProgress;
import com.allocationgateway.allocation.v1.AllocationSelector;
import com.allocationgateway.allocation.v1.Price;
import com.google.common.util.concurrent.Uninterruptibles;
import com.google.protobuf.Message;
import io.grpc.ClientCall;
import io.grpc.MethodDescriptor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * A job: it is begun again with the same id whenever its stream is lost, until every item has its outcome.
 *
 * @param <Q> the messages that are sent
 * @param <R> those that are received
 * @param <I> an item
 * @param <A> the allocation of one
 */
final class Job<Q extends Message, R, I, A> extends Lasting<Q, R, Outcome<A>> implements JobStream<A> {
  // A message may have a thousand at most, and has to be small enough also if their names are long.
  private static final int ITEMS_OF_MESSAGE = 250;
  // How long an iterator that does not wait may need to give the item that it was asked for when the job is over.
  private static final long LAST_ITEM_MILLIS = 100;

  private final Kind<Q, R, I, A> kind;
  private final JobOptions options;
  private final AllocationJob job;
  private final Map<String, I> unanswered = new LinkedHashMap<>();
  // Those of the unanswered items that the call of now was not sent yet, and those that no call was.
  private final Deque<I> again = new ArrayDeque<>();
  private final Queue<I> fresh = new ConcurrentLinkedQueue<>();
  // How many further items may be read ahead.
  private final Semaphore room = new Semaphore(ITEMS_OF_MESSAGE - 1);
  private final Thread reader;
  private volatile boolean isReleased;
  private boolean isRead;
  private Throwable thrownByItems;
  private boolean isHalfClosed;
  private boolean hasBegun;
  // What is counted is asked for by any thread.
  private final Object counting = new Object();
  private final long[] counts = new long[OutcomeKind.values().length];
  private long received;
  private long repeated;
  private int streams;

  /** Has read none of the items yet. */
  Job(Caller caller, Kind<Q, R, I, A> kind, Iterable<? extends I> items, JobOptions options) {
    super(caller, kind.method(), options.metadata(), options.timeout());
    this.kind = kind;
    this.options = options;
    job = options.named();
    // An iterator may wait for its next item, so that it needs a thread of its own.
    reader = new Thread(() -> read(items), "allocation-job-" + job.getJobId());
    reader.setDaemon(true);
  }

  /** What jobs of shipments and of consignments do not have in common. */
  interface Kind<Q, R, I, A> {
    MethodDescriptor<Q, R> method();

    Q begin(AllocationJob job);

    Q items(List<I> some);

    String referenceOfItem(I item);

    /** Returns the selector of an item; that of the job if it has none of its own. */
    AllocationSelector selectorOf(I item, AllocationSelector ofJob);

    /** Returns the request that an item is. */
    Message callOf(String reference, String requestId, AllocationSelector selector);

    /** Returns what became of items; nothing if the message tells something else. */
    List<Told<A>> outcomes(R message);

    boolean isJob(R message);

    boolean isSummary(R message);

    /** Returns why a message was refused; null if the message tells something else. */
    com.google.rpc.Status refusal(R message);

    /** Returns how far the call has come; null if the message tells something else. */
    AllocationProgress progress(R message);
  }

  /** What became of an item, as it was told. */
  static final class Told<A> {
    final String reference;
    final String requestId;
    final OutcomeKind kind;
    final A allocation;
    final Price price;
    final com.google.rpc.Status why;

    /**
     * Takes what was told.
     *
     * @param allocation null if none was told
     * @param why null if it was neither refused nor is unknown
     */
    Told(
        String reference,
        String requestId,
        OutcomeKind kind,
        A allocation,
        Price price,
        com.google.rpc.Status why) {
      this.reference = reference;
      this.requestId = requestId;
      this.kind = kind;
      this.allocation = allocation;
      this.price = price;
      this.why = why;
    }
  }

  @Override
  public String getJobId() {
    return job.getJobId();
  }

  @Override
  public JobSummary getSummary() {
    synchronized (counting) {
      return new JobSummary(received, repeated, streams, counts);
    }
  }

  private void read(Iterable<? extends I> items) {
    try {
      for (I item : items) {
        fresh.add(item);
        post(() -> {});
        // Before another one is taken: what was taken has to be known if the job is over.
        room.acquire();
      }
      post(() -> isRead = true);
    } catch (InterruptedException ended) {
      // Nobody wants more of them.
      return;
    } catch (RuntimeException | Error error) {
      if (!isReleased) {
        // It is thrown when those before it have their outcome.
        post(() -> {
          thrownByItems = error;
          isRead = true;
        });
      }
    }
  }

  @Override
  void begin(ClientCall<Q, R> opened) {
    if (reader.getState() == Thread.State.NEW) {
      reader.start();
    }
    again.clear();
    again.addAll(unanswered.values());
    isHalfClosed = false;
    synchronized (counting) {
      streams++;
    }
    opened.sendMessage(kind.begin(job));
  }

  @Override
  void proceed(ClientCall<Q, R> opened) {
    while (opened.isReady() && !(again.isEmpty() && fresh.isEmpty())) {
      send(opened);
    }
    if (isRead && again.isEmpty() && fresh.isEmpty() && !isHalfClosed) {
      isHalfClosed = true;
      opened.halfClose();
    }
  }

  private void send(ClientCall<Q, R> opened) {
    List<I> some = new ArrayList<>();
    while (some.size() < ITEMS_OF_MESSAGE && !again.isEmpty()) {
      I item = again.remove();
      if (unanswered.containsKey(kind.referenceOfItem(item))) {
        some.add(item);
      }
    }
    while (some.size() < ITEMS_OF_MESSAGE && !fresh.isEmpty()) {
      I item = fresh.remove();
      room.release();
      boolean isNew = unanswered.putIfAbsent(kind.referenceOfItem(item), item) == null;
      if (isNew) {
        some.add(item);
      }
      synchronized (counting) {
        received++;
        repeated += isNew ? 0 : 1;
      }
    }
    if (!some.isEmpty()) {
      opened.sendMessage(kind.items(some));
    }
  }

  @Override
  boolean take(R message, Deque<Outcome<A>> results) {
    for (Told<A> told : kind.outcomes(message)) {
      I item = unanswered.remove(told.reference);
      // What has its outcome was told before.
      if (item != null) {
        comeOn();
        results.add(outcome(told, item));
      }
    }
    AllocationProgress progress = kind.progress(message);
    if (progress != null) {
      options.onProgress().accept(progress);
    }
    com.google.rpc.Status refusal = kind.refusal(message);
    if (refusal != null) {
      // There can be no outcome for what was in it on this stream.
      refuse(refusal);
      return false;
    }
    hasBegun |= kind.isJob(message);
    // One that comes while items are still to be sent speaks of those before them.
    return kind.isSummary(message) && isHalfClosed && unanswered.isEmpty();
  }

  private Outcome<A> outcome(Told<A> told, I item) {
    synchronized (counting) {
      counts[told.kind.ordinal()]++;
    }
    AllocationException error = null;
    if (told.why != null) {
      AllocationSelector selector = kind.selectorOf(item, job.getSelector());
      Message request = kind.callOf(told.reference, told.requestId, selector);
      ErrorDetails details = ErrorDetails.of(told.why);
      error =
          inAccount(
              told.kind == OutcomeKind.UNKNOWN
                  ? new UnknownOutcomeException(details, request, null)
                  : AllocationException.of(details, request, null));
    }
    return new Outcome<>(told.reference, told.requestId, told.kind, told.allocation, told.price, error);
  }

  @Override
  void lost(Failure failure, Throwable cause) {
    options.onLost().accept(inAccount(AllocationException.of(failure.details(), kind.begin(job), cause)));
  }

  @Override
  boolean isComplete() {
    return false;
  }

  @Override
  Throwable afterwards() {
    return thrownByItems;
  }

  @Override
  AllocationException over(Failure failure, boolean isInDoubt, Throwable cause) {
    // What is taken after this would be in no list.
    release();
    Uninterruptibles.joinUninterruptibly(reader, LAST_ITEM_MILLIS, TimeUnit.MILLISECONDS);
    Message request = kind.begin(job);
    Throwable why = thrownByItems == null ? cause : thrownByItems;
    if (!hasBegun && !isInDoubt) {
      return AllocationException.of(failure.details(), request, why);
    }
    Set<String> left = new LinkedHashSet<>(unanswered.keySet());
    fresh.forEach(item -> left.add(kind.referenceOfItem(item)));
    return new UnfinishedJobException(failure.details(), request, job.getJobId(), left, why);
  }

  @Override
  void release() {
    isReleased = true;
    reader.interrupt();
  }
}

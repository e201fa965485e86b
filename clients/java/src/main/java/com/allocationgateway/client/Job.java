package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationProgress;
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

/**
 * A job: it is begun again with the same id whenever its stream is lost, until every item has its outcome.
 *
 * @param <Q> the messages that are sent
 * @param <R> those that are received
 * @param <I> an item
 * @param <T> what became of one
 */
final class Job<Q extends Message, R, I, T> extends Lasting<Q, R, T> implements JobStream<T> {
  // A message may have a thousand at most, and has to be small enough also if their names are long.
  private static final int ITEMS_OF_MESSAGE = 250;

  private final Kind<Q, R, I, T> kind;
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

  /** Has read none of the items yet. */
  Job(Caller caller, Kind<Q, R, I, T> kind, Iterable<? extends I> items, JobOptions options) {
    super(caller, kind.method(), options.metadata(), options.timeout());
    this.kind = kind;
    this.options = options;
    job = options.named();
    // An iterator may wait for its next item, so that it needs a thread of its own.
    reader = new Thread(() -> read(items), "allocation-job-" + job.getJobId());
    reader.setDaemon(true);
  }

  /** What jobs of shipments and of consignments do not have in common. */
  interface Kind<Q, R, I, T> {
    MethodDescriptor<Q, R> method();

    Q begin(AllocationJob job);

    Q items(List<I> some);

    String referenceOfItem(I item);

    String referenceOf(T outcome);

    /** Returns what became of items; nothing if the message tells something else. */
    List<T> outcomes(R message);

    boolean isJob(R message);

    boolean isSummary(R message);

    /** Returns why a message was refused; null if the message tells something else. */
    com.google.rpc.Status refusal(R message);

    /** Returns how far the call has come; null if the message tells something else. */
    AllocationProgress progress(R message);
  }

  @Override
  public String getJobId() {
    return job.getJobId();
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
      if (unanswered.putIfAbsent(kind.referenceOfItem(item), item) == null) {
        some.add(item);
      }
    }
    if (!some.isEmpty()) {
      opened.sendMessage(kind.items(some));
    }
  }

  @Override
  boolean take(R message, Deque<T> results) {
    for (T outcome : kind.outcomes(message)) {
      comeOn();
      unanswered.remove(kind.referenceOf(outcome));
      results.add(outcome);
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

package com.allocationgateway.client;

import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.OptionalLong;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A stream that is begun again whenever it is lost, until it comes to its end.
 *
 * <p>Whatever happens, to a call of gRPC's or besides, is an event in a queue, and the one thread that goes through the
 * results takes it from there: nothing else changes any state.
 *
 * @param <Q> the messages that are sent
 * @param <R> those that are received
 * @param <T> what is told
 */
abstract class Lasting<Q, R, T> implements ResultStream<T>, Iterator<T> {
  // The next message is under way while one is looked at.
  private static final int MESSAGES_AHEAD = 2;

  private final Caller caller;
  private final MethodDescriptor<Q, R> method;
  private final Metadata metadata;
  private final Attempts attempts;
  private final Context context = Context.current();
  private final BlockingQueue<Runnable> events = new LinkedBlockingQueue<>();
  private final Runnable onClientClosed =
      () -> {
        release();
        events.add(() -> {});
      };
  private final Context.CancellationListener onCancelled = cancelled -> post(() -> {});
  private final Deque<T> told = new ArrayDeque<>();
  private volatile ClientCall<Q, R> call;
  // Whether the call of now has told something.
  private boolean wasLetIn;
  private long reopenAt = System.nanoTime();
  private Failure last;
  private Throwable failed;
  private volatile boolean finished;

  Lasting(Caller caller, MethodDescriptor<Q, R> method, Metadata metadata, Duration timeout) {
    if (caller.isClosed()) {
      throw Caller.closedException();
    }
    this.caller = caller;
    this.method = method;
    this.metadata = metadata;
    attempts = caller.lasting(timeout);
    caller.onClose(onClientClosed);
    context.addListener(onCancelled, Runnable::run);
  }

  /** Sends what a call begins with. */
  abstract void begin(ClientCall<Q, R> opened);

  /** Sends more if the call takes it. */
  abstract void proceed(ClientCall<Q, R> opened);

  /** Takes in a message. Returns whether all has been told. */
  abstract boolean take(R message, Deque<T> results);

  /** Takes note of how a call was lost in whose place another one is about to be made. */
  void lost(Failure failure, Throwable cause) {
    // Not everybody is told.
  }

  /** Returns whether nothing is left to call for. */
  abstract boolean isComplete();

  /** Returns what is thrown when all that was told was taken; null for nothing. */
  abstract Throwable afterwards();

  /** Returns the exception of what is over. */
  abstract AllocationException over(Failure failure, boolean isInDoubt, Throwable cause);

  /** Lets go of what it has. */
  abstract void release();

  @Override
  public final Iterator<T> iterator() {
    return this;
  }

  @Override
  public final boolean hasNext() {
    while (told.isEmpty() && !finished) {
      try {
        step();
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        fail(ended("The thread was interrupted", interrupted));
      } catch (RuntimeException | Error error) {
        finish();
        throw error;
      }
    }
    if (told.isEmpty() && failed instanceof Error) {
      throw (Error) failed;
    }
    if (told.isEmpty() && failed != null) {
      throw (RuntimeException) failed;
    }
    return !told.isEmpty();
  }

  @Override
  public final T next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    return told.remove();
  }

  @Override
  public final void close() {
    finish();
    // Whoever waits finds out.
    post(() -> {});
  }

  /** Has something done by the thread that goes through the results. */
  final void post(Runnable event) {
    events.add(event);
  }

  private void step() throws InterruptedException {
    if (call == null && isEnded()) {
      fail(ended("The call was ended", caller.isClosed() ? Caller.closedException() : context.cancellationCause()));
      return;
    }
    if (call == null && System.nanoTime() - reopenAt >= 0) {
      if (isComplete()) {
        finish();
        return;
      }
      open();
    }
    Runnable event = call == null ? events.poll(reopenAt - System.nanoTime(), TimeUnit.NANOSECONDS) : events.take();
    while (event != null && !finished) {
      event.run();
      event = events.poll();
    }
    ClientCall<Q, R> current = call;
    if (current != null && !finished) {
      proceed(current);
    }
  }

  private void open() {
    Context before = context.attach();
    try {
      ClientCall<Q, R> opened = caller.open(method, metadata, attempts.timeout());
      call = opened;
      wasLetIn = false;
      opened.start(new Listener(opened), new Metadata());
      opened.request(MESSAGES_AHEAD);
      begin(opened);
    } finally {
      context.detach(before);
    }
  }

  /** Posts what happens to a call. */
  private final class Listener extends ClientCall.Listener<R> {
    private final ClientCall<Q, R> own;

    Listener(ClientCall<Q, R> own) {
      this.own = own;
    }

    @Override
    public void onReady() {
      post(() -> {});
    }

    @Override
    public void onMessage(R message) {
      post(() -> received(own, message));
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      post(() -> closed(own, status, trailers));
    }
  }

  private void received(ClientCall<Q, R> own, R message) {
    if (own != call) {
      return;
    }
    wasLetIn = true;
    if (take(message, told)) {
      failed = afterwards();
      finish();
    } else {
      own.request(1);
    }
  }

  /** Takes note that it has come on: how the call of now ends costs nothing then. */
  final void comeOn() {
    attempts.succeed();
  }

  /** Ends the call of now, since something that was sent is refused. It counts as if the gateway had ended it so. */
  final void refuse(com.google.rpc.Status status) {
    ClientCall<Q, R> refused = call;
    call = null;
    refused.cancel("A message was refused", null);
    goOn(Failure.of(status), null);
  }

  private void closed(ClientCall<Q, R> own, Status status, Metadata trailers) {
    if (own != call) {
      return;
    }
    call = null;
    if (status.isOk() && isComplete()) {
      finish();
      return;
    }
    Status lost = status.isOk() ? Status.UNKNOWN.withDescription("The stream ended before all was told") : status;
    goOn(Failure.of(lost, trailers), lost.asRuntimeException(trailers));
  }

  private void goOn(Failure failure, Throwable cause) {
    last = failure;
    caller.reconnectAfter(last);
    OptionalLong pause = attempts.pauseAfter(last, wasLetIn);
    if (pause.isPresent()) {
      reopenAt = System.nanoTime() + pause.getAsLong();
      if (!isEnded()) {
        lost(last, cause);
      }
    } else if (!isEnded()) {
      fail(inAccount(over(last, attempts.isInDoubt(), cause)));
    }
  }

  /** Adds the account that the call is for. */
  final AllocationException inAccount(AllocationException error) {
    return error.inAccount(caller.accountOf(metadata));
  }

  private boolean isEnded() {
    return caller.isClosed() || context.isCancelled();
  }

  /**
   * Returns the exception of what was ended from outside: that of the job if it may have begun, or else what ended it.
   */
  private RuntimeException ended(String why, Throwable cause) {
    Status status = cause instanceof TimeoutException ? Status.DEADLINE_EXCEEDED : Status.CANCELLED;
    Failure failure = last == null ? Failure.of(status.withDescription(why), null) : last;
    AllocationException over = inAccount(over(failure, call != null || attempts.isInDoubt(), cause));
    if (over instanceof UnfinishedJobException) {
      return over;
    }
    if (caller.isClosed() && cause instanceof IllegalStateException) {
      return (IllegalStateException) cause;
    }
    if (cause instanceof TimeoutException) {
      // The deadline of a context is the end of the call's time, as any other.
      return over;
    }
    RuntimeException cancelled = new CancellationException(why);
    cancelled.initCause(cause);
    return cancelled;
  }

  private void fail(RuntimeException error) {
    failed = error;
    finish();
  }

  private void finish() {
    finished = true;
    caller.removeOnClose(onClientClosed);
    context.removeListener(onCancelled);
    release();
    ClientCall<Q, R> left = call;
    if (left != null) {
      left.cancel("Nobody wants more of it", null);
    }
  }
}

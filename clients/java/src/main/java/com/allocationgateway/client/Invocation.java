package com.allocationgateway.client;

import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.Message;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** One logical call: attempts with one request, until one succeeds or the call is over. It is begun once. */
final class Invocation {
  private static final String OF_CONTEXT = "The context of the call was cancelled";

  private final Caller caller;
  private final Rpc rpc;
  private final Message request;
  private final Metadata metadata;
  private final Attempts attempts;
  // Attempts that other threads make are made in the context of the caller too.
  private final Context context = Context.current();
  private Failure last;

  Invocation(Caller caller, Rpc rpc, Message request, Metadata metadata, Attempts attempts) {
    this.caller = caller;
    this.rpc = rpc;
    this.request = request;
    this.metadata = metadata;
    this.attempts = attempts;
  }

  /** Makes the attempts on this thread, and returns the answer. */
  Message await() {
    Optional<RuntimeException> ended = endedBefore();
    if (ended.isPresent()) {
      throw ended.get();
    }
    for (; ; ) {
      ListenableFuture<Message> attempt = attempt();
      try {
        Message answer = attempt.get();
        caller.earn();
        return answer;
      } catch (ExecutionException failed) {
        pause(failed.getCause());
      } catch (InterruptedException interrupted) {
        attempt.cancel(true);
        // What becomes of it is not waited for.
        note(Failure.of(Status.CANCELLED.withDescription("The thread was interrupted"), null));
        throw interrupted(interrupted);
      }
    }
  }

  private void pause(Throwable thrown) {
    OptionalLong nanos = pauseAfter(thrown);
    if (nanos.isEmpty()) {
      throw over(thrown);
    }
    try {
      if (!isEnded()) {
        caller.pause(nanos.getAsLong(), context);
      }
    } catch (InterruptedException interrupted) {
      throw interrupted(interrupted);
    }
    if (isEnded()) {
      throw endedInPause(thrown);
    }
  }

  private RuntimeException interrupted(InterruptedException cause) {
    Thread.currentThread().interrupt();
    return inDoubt(cause).orElseGet(() -> cancelled("The thread was interrupted", cause));
  }

  /** Makes the attempts, and returns what will have the answer. Cancelling that ends them. */
  CompletableFuture<Message> start() {
    Optional<RuntimeException> ended = endedBefore();
    if (ended.isPresent()) {
      return CompletableFuture.failedFuture(ended.get());
    }
    Running running = new Running();
    caller.onClose(running);
    context.addListener(running, Runnable::run);
    running.answer.whenComplete((answer, error) -> running.finish());
    running.attempt();
    return running.answer;
  }

  /** Attempts that no thread waits for. Running it is telling it that the client was closed. */
  private final class Running implements Runnable, Context.CancellationListener {
    final CompletableFuture<Message> answer = new CompletableFuture<>();
    private volatile ListenableFuture<Message> current;
    // How the last attempt failed, while the next one is waited for. One that is under way tells by itself how it ends.
    private Throwable waiting;

    void attempt() {
      Context before = context.attach();
      ListenableFuture<Message> made = Invocation.this.attempt();
      context.detach(before);
      current = made;
      if (answer.isDone()) {
        made.cancel(true);
      }
      made.addListener(() -> settle(made), Runnable::run);
    }

    private void settle(ListenableFuture<Message> made) {
      try {
        Message got = Futures.getDone(made);
        caller.earn();
        answer.complete(got);
      } catch (ExecutionException failed) {
        RuntimeException over = goOn(failed.getCause());
        if (over != null) {
          answer.completeExceptionally(over);
        }
      } catch (CancellationException ended) {
        // By whoever cancelled the answer.
        answer.cancel(false);
      }
    }

    /** Has another attempt made. Returns an exception instead if the call is over. */
    private synchronized RuntimeException goOn(Throwable thrown) {
      OptionalLong nanos = pauseAfter(thrown);
      if (nanos.isEmpty()) {
        return over(thrown);
      }
      if (isEnded()) {
        return endedInPause(thrown);
      }
      waiting = thrown;
      CompletableFuture.delayedExecutor(nanos.getAsLong(), TimeUnit.NANOSECONDS).execute(this::attemptAgain);
      return null;
    }

    private void attemptAgain() {
      synchronized (this) {
        if (waiting == null || answer.isDone()) {
          return;
        }
        waiting = null;
      }
      attempt();
    }

    void finish() {
      caller.removeOnClose(this);
      context.removeListener(this);
      ListenableFuture<Message> left = current;
      if (left != null) {
        left.cancel(true);
      }
    }

    @Override
    public void run() {
      RuntimeException over;
      synchronized (this) {
        if (waiting == null) {
          return;
        }
        over = endedInPause(waiting);
        waiting = null;
      }
      answer.completeExceptionally(over);
    }

    @Override
    public void cancelled(Context ended) {
      run();
    }
  }

  private ListenableFuture<Message> attempt() {
    try {
      return ClientCalls.futureUnaryCall(caller.open(rpc.method, metadata, attempts.timeout()), request);
    } catch (RuntimeException failed) {
      // Such as of an interceptor. It tells nothing of the attempts before it.
      return Futures.immediateFailedFuture(failed);
    }
  }

  /** Returns what the call throws if its context had ended before it began: then nothing of it is sent. */
  private Optional<RuntimeException> endedBefore() {
    Throwable cause = context.cancellationCause();
    Deadline deadline = context.getDeadline();
    if (cause instanceof TimeoutException || deadline != null && deadline.isExpired()) {
      Failure late = Failure.of(Status.DEADLINE_EXCEEDED.withDescription("The deadline had passed before the call"), null);
      return Optional.of(AllocationException.of(late.details(), request, cause).inAccount(caller.accountOf(metadata)));
    }
    return context.isCancelled() ? Optional.of(cancelled(OF_CONTEXT, cause)) : Optional.empty();
  }

  /** Returns after how many nanoseconds to repeat the call; nothing if it is over. */
  private OptionalLong pauseAfter(Throwable thrown) {
    Optional<Failure> failure = Failure.of(thrown);
    if (failure.isEmpty()) {
      return OptionalLong.empty();
    }
    last = failure.get();
    caller.reconnectAfter(last);
    return attempts.pauseAfter(last);
  }

  private void note(Failure failure) {
    last = failure;
    attempts.learn(failure);
  }

  private boolean isEnded() {
    return caller.isClosed() || context.isCancelled();
  }

  /** Returns what the call that is over throws. */
  private RuntimeException over(Throwable thrown) {
    Optional<RuntimeException> doubt = inDoubt(thrown);
    if (doubt.isPresent()) {
      return doubt.get();
    }
    if (caller.isClosed()) {
      return Caller.closedException();
    }
    if (last == null) {
      return thrown instanceof RuntimeException ? (RuntimeException) thrown : new IllegalStateException(thrown);
    }
    if (context.isCancelled() && last.code() == Status.Code.CANCELLED) {
      return cancelled(OF_CONTEXT, thrown);
    }
    return AllocationException.of(last.details(), request, thrown).inAccount(caller.accountOf(metadata));
  }

  /** Returns what the call throws whose client was closed, or whose context was cancelled, before the next attempt. */
  private RuntimeException endedInPause(Throwable thrown) {
    if (caller.isClosed()) {
      return over(Caller.closedException());
    }
    Throwable cause = context.cancellationCause();
    if (cause instanceof TimeoutException) {
      // Its deadline is the end of the call's time, as any other.
      return over(thrown);
    }
    return inDoubt(cause).orElseGet(() -> cancelled(OF_CONTEXT, cause));
  }

  private static RuntimeException cancelled(String message, Throwable cause) {
    RuntimeException made = new CancellationException(message);
    made.initCause(cause);
    return made;
  }

  private Optional<RuntimeException> inDoubt(Throwable cause) {
    return rpc.isWrite && attempts.isInDoubt()
        ? Optional.of(
            new UnknownOutcomeException(last.details(), request, cause).inAccount(caller.accountOf(metadata)))
        : Optional.empty();
  }
}

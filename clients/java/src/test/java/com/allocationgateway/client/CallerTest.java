package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class CallerTest {
  /** A channel that counts how often it is told to connect at once. */
  private static final class Counting extends ManagedChannel {
    int resets;

    @Override
    public void resetConnectBackoff() {
      resets++;
    }

    @Override
    public ManagedChannel shutdown() {
      return this;
    }

    @Override
    public ManagedChannel shutdownNow() {
      return this;
    }

    @Override
    public boolean isShutdown() {
      return false;
    }

    @Override
    public boolean isTerminated() {
      return false;
    }

    @Override
    public boolean awaitTermination(long timeout, TimeUnit unit) {
      return true;
    }

    @Override
    public <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
      throw new UnsupportedOperationException();
    }

    @Override
    public String authority() {
      return "";
    }
  }

  @Test
  void whatCannotBeReachedIsConnectedToAtOnceButOnceASecond() {
    Counting channel = new Counting();
    Caller caller = new Caller(channel, Map.of(), new Budget(10, 1), Duration.ofSeconds(1), new Metadata(), null);
    caller.reconnectAfter(Failures.bare(Status.UNKNOWN));
    caller.reconnectAfter(Failures.told(Status.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", "none"));
    assertEquals(0, channel.resets);
    caller.reconnectAfter(Failures.bare(Status.UNAVAILABLE));
    caller.reconnectAfter(Failures.bare(Status.UNAVAILABLE));
    assertEquals(1, channel.resets);
  }
}

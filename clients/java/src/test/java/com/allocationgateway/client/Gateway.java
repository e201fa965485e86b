package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.AllocateShipmentRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentResponse;
import com.allocationgateway.allocation.v1.AllocateShipmentStreamRequest;
import com.allocationgateway.allocation.v1.AllocateShipmentStreamResponse;
import com.allocationgateway.allocation.v1.AllocationJob;
import com.allocationgateway.allocation.v1.AllocationSummary;
import com.allocationgateway.allocation.v1.GetShipmentAllocationRequest;
import com.allocationgateway.allocation.v1.GetShipmentAllocationResponse;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc.ShipmentAllocationServiceImplBase;
import com.allocationgateway.allocation.v1.WatchShipmentAllocationsRequest;
import com.allocationgateway.allocation.v1.WatchShipmentAllocationsResponse;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/** A server that fails as it is told to, and then answers; it remembers what it was asked. */
final class Gateway extends ShipmentAllocationServiceImplBase implements AutoCloseable {
  /** A call that is never answered. */
  static final Status SILENCE = Status.OK;

  final Queue<Status> failures = new ConcurrentLinkedQueue<>();
  /** What streams tell when they are half-closed, in turn, and how they end. Those that nothing is left for tell the job. */
  final Queue<Consumer<StreamObserver<AllocateShipmentStreamResponse>>> scripts = new ConcurrentLinkedQueue<>();

  /** What failures come with. */
  volatile Metadata trailers;
  final BlockingQueue<String> requestIds = new LinkedBlockingQueue<>();
  final BlockingQueue<Metadata> headers = new LinkedBlockingQueue<>();
  final CountDownLatch cancelled = new CountDownLatch(1);
  private final Server server;

  Gateway() throws IOException {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .addService(this)
            .intercept(new Remembering())
            .build()
            .start();
  }

  private final class Remembering implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata sent, ServerCallHandler<Q, R> next) {
      headers.add(sent);
      return next.startCall(call, sent);
    }
  }

  AllocationClient.Builder client() {
    return AllocationClient.builder("127.0.0.1:" + server.getPort()).plaintext();
  }

  @Override
  public void allocateShipment(AllocateShipmentRequest request, StreamObserver<AllocateShipmentResponse> observer) {
    requestIds.add(request.getRequestId());
    answer(observer, AllocateShipmentResponse.getDefaultInstance());
  }

  @Override
  public void getShipmentAllocation(
      GetShipmentAllocationRequest request, StreamObserver<GetShipmentAllocationResponse> observer) {
    answer(observer, GetShipmentAllocationResponse.getDefaultInstance());
  }

  /** Tells the job, and no more but the summary of one without items. */
  @Override
  public StreamObserver<AllocateShipmentStreamRequest> allocateShipmentStream(
      StreamObserver<AllocateShipmentStreamResponse> observer) {
    ((ServerCallStreamObserver<?>) observer).setOnCancelHandler(cancelled::countDown);
    Consumer<StreamObserver<AllocateShipmentStreamResponse>> script = scripts.poll();
    Status failure = failures.poll();
    if (failure == null) {
      observer.onNext(
          AllocateShipmentStreamResponse.newBuilder().setJob(AllocationJob.getDefaultInstance()).build());
    } else {
      observer.onError(failure.asRuntimeException(trailers));
    }
    return new StreamObserver<>() {
      private boolean hasItems;

      @Override
      public void onNext(AllocateShipmentStreamRequest message) {
        hasItems |= message.getItemsCount() > 0;
        message.getItemsList().forEach(item -> requestIds.add(item.getShipmentReference()));
      }

      @Override
      public void onError(Throwable thrown) {
        cancelled.countDown();
      }

      @Override
      public void onCompleted() {
        requestIds.add("half-closed");
        if (script != null) {
          script.accept(observer);
        } else if (failure == null && !hasItems) {
          observer.onNext(
              AllocateShipmentStreamResponse.newBuilder().setSummary(AllocationSummary.getDefaultInstance()).build());
          observer.onCompleted();
        }
      }
    };
  }

  /** Tells nothing. */
  @Override
  public void watchShipmentAllocations(
      WatchShipmentAllocationsRequest request, StreamObserver<WatchShipmentAllocationsResponse> observer) {
    ((ServerCallStreamObserver<?>) observer).setOnCancelHandler(cancelled::countDown);
    requestIds.addAll(request.getShipmentReferencesList());
  }

  private <R> void answer(StreamObserver<R> observer, R response) {
    ((ServerCallStreamObserver<R>) observer).setOnCancelHandler(cancelled::countDown);
    Status failure = failures.poll();
    if (failure == null) {
      observer.onNext(response);
      observer.onCompleted();
    } else if (failure != SILENCE) {
      observer.onError(failure.asRuntimeException(trailers));
    }
  }

  @Override
  public void close() {
    server.shutdownNow();
  }
}

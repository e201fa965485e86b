package com.allocationgateway.client;

import com.google.protobuf.Message;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;

/** An rpc of the gateway that has one request and one response. Times are in nanoseconds. */
final class Rpc {
  private static final String REQUEST_ID = "request_id";

  final MethodDescriptor<Message, Message> method;
  final Message requestPrototype;
  // Whether it has a request id, and so is repeated with the same one.
  final boolean isWrite;
  final long timeout;
  final Repetition repetition;

  private Rpc(MethodDescriptor<Message, Message> method, ServiceConfig.MethodConfig config) {
    this.method = method;
    requestPrototype = ((PrototypeMarshaller<Message>) method.getRequestMarshaller()).getMessagePrototype();
    isWrite = requestPrototype.getDescriptorForType().findFieldByName(REQUEST_ID) != null;
    timeout = ServiceConfig.duration(config.timeout).toNanos();
    repetition = isWrite ? Repetition.WRITES : Repetition.ofReads(config.retryPolicy);
  }

  /**
   * Returns the rpcs of some services by the full names of their methods.
   *
   * @throws IllegalArgumentException the service configuration has no time-out for one
   */
  static Map<String, Rpc> of(Collection<ServiceDescriptor> services, ServiceConfig config) {
    Map<String, ServiceConfig.MethodConfig> configs = config.byName();
    Map<String, Rpc> found = new HashMap<>();
    for (ServiceDescriptor service : services) {
      for (MethodDescriptor<?, ?> method : service.getMethods()) {
        if (method.getType() == MethodDescriptor.MethodType.UNARY) {
          ServiceConfig.MethodConfig own = configs.get(method.getFullMethodName());
          if (own == null || own.timeout == null) {
            throw new IllegalArgumentException(
                "The service configuration has no time-out for " + method.getFullMethodName());
          }
          @SuppressWarnings("unchecked")
          MethodDescriptor<Message, Message> general = (MethodDescriptor<Message, Message>) method;
          found.put(method.getFullMethodName(), new Rpc(general, own));
        }
      }
    }
    return found;
  }

  /** Returns the request of a write with a request id: the request itself if it has one, or else a copy. */
  Message named(Message request) {
    if (!isWrite || !AllocationException.requestIdOf(request).isEmpty()) {
      return request;
    }
    return request.toBuilder()
        .setField(request.getDescriptorForType().findFieldByName(REQUEST_ID), UUID.randomUUID().toString())
        .build();
  }
}

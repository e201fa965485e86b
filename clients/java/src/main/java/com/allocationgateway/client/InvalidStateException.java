package com.allocationgateway.client;

import com.google.protobuf.Message;

/** The shipment or consignment is in a state that forbids it. What is there may be what was wanted. */
public final class InvalidStateException extends RefusedException {
  private static final long serialVersionUID = 1;

  InvalidStateException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

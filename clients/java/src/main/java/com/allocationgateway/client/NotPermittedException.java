package com.allocationgateway.client;

import com.google.protobuf.Message;

/** The gateway, or a proxy in front of it, does not let this caller do it. */
public final class NotPermittedException extends AllocationException {
  private static final long serialVersionUID = 1;

  NotPermittedException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

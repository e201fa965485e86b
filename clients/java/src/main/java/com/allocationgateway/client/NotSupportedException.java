package com.allocationgateway.client;

import com.google.protobuf.Message;

/** The operation is switched off at this gateway, or this gateway is older than the operation. */
public final class NotSupportedException extends AllocationException {
  private static final long serialVersionUID = 1;

  NotSupportedException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

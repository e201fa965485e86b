package com.allocationgateway.client;

import com.google.protobuf.Message;

/** The state of things forbids it. Nothing was done, and a repetition is refused again. */
public class RefusedException extends AllocationException {
  private static final long serialVersionUID = 1;

  RefusedException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

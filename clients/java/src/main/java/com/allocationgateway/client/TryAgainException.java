package com.allocationgateway.client;

import com.google.protobuf.Message;

/**
 * It was not done, and may be in a while: a limit was reached, something is unreachable, another write is going on.
 *
 * <p>The client has repeated the call until its time, or its budget, was used up.
 */
public final class TryAgainException extends AllocationException {
  private static final long serialVersionUID = 1;

  TryAgainException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

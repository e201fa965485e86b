package com.allocationgateway.client;

import com.google.protobuf.Message;

/** The gateway, what it stands in front of, or how it is set up, has failed. The effect says what was done. */
public final class GatewayFailureException extends AllocationException {
  private static final long serialVersionUID = 1;

  GatewayFailureException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

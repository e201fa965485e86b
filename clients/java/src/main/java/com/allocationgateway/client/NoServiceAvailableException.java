package com.allocationgateway.client;

import com.google.protobuf.Message;

/** No carrier service could take it, or quote for it. */
public final class NoServiceAvailableException extends RefusedException {
  private static final long serialVersionUID = 1;

  NoServiceAvailableException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

package com.allocationgateway.client;

import com.google.protobuf.Message;

/** The request is not valid: mend what the field violations name. REQUEST_ID_REUSED: it is another request's id. */
public final class InvalidRequestException extends AllocationException {
  private static final long serialVersionUID = 1;

  InvalidRequestException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

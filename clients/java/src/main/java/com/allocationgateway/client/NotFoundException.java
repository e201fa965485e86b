package com.allocationgateway.client;

import com.google.protobuf.Message;

/** What the request names is not known: the resource, or any of its references if that is not told. */
public final class NotFoundException extends AllocationException {
  private static final long serialVersionUID = 1;

  NotFoundException(ErrorDetails details, Message request, Throwable cause) {
    super(details, request, cause);
  }
}

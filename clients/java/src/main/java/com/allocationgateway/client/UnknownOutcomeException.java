package com.allocationgateway.client;

import com.google.protobuf.Message;

/**
 * It may have been done or not. Keep {@link #getRequestId()}, and repeat the call with it: that is how to ask.
 *
 * <p>{@code client.call(exception.getRequest())} does, with the account if the call was for one of its own. Where an
 * allocation is told and no time to come back, it can never be known whether this request made what is there: look at it.
 */
public final class UnknownOutcomeException extends AllocationException {
  private static final long serialVersionUID = 1;

  UnknownOutcomeException(ErrorDetails details, Message request, Throwable cause) {
    super(
        details + " - the outcome is unknown: repeat the call with request id " + requestIdOf(request),
        details,
        request,
        cause);
  }
}

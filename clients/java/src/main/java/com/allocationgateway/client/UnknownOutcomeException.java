package com.allocationgateway.client;

import com.google.protobuf.Message;

/**
 * It may have been done or not. Keep {@link #getRequestId()}, and repeat the call with it: that is how to ask.
 *
 * <p>{@code client.call(exception.getRequest(), RequestOptions.DEFAULT.withAccount(exception.getAccount()))} does: another
 * account knows nothing of the id. Where an allocation is told and no time to come back, it can never be known whether this
 * request made what is there: look at it.
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

  @Override
  public String getMessage() {
    return super.getMessage() + andAccount();
  }
}

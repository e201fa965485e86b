package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.ConsignmentAllocation;
import com.allocationgateway.allocation.v1.ExcludedService;
import com.allocationgateway.allocation.v1.FailedAllocation;
import com.allocationgateway.allocation.v1.WriteProgress;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ResourceInfo;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A call that failed. It is of one of the classes that extend this one: one for each way to go on, with all that the
 * gateway told. It can be serialized, with its request.
 */
public class AllocationException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private static final String REQUEST_ID = "request_id";

  private final ErrorDetails details;

  @SuppressWarnings("serial") // every generated message is serializable
  private final Message request;

  private String account = "";

  AllocationException(ErrorDetails details, Message request, Throwable cause) {
    this(details.toString(), details, request, cause);
  }

  AllocationException(String message, ErrorDetails details, Message request, Throwable cause) {
    super(message, cause);
    this.details = details;
    this.request = request;
  }

  /** Returns the exception for a call of which it is not in doubt what became of it. */
  static AllocationException of(ErrorDetails details, Message request, Throwable cause) {
    switch (details.getReason()) {
      case "INVALID_STATE":
        return new InvalidStateException(details, request, cause);
      case "ALLOCATION_FAILED":
      case "NO_QUOTES_AVAILABLE":
        return new NoServiceAvailableException(details, request, cause);
      default:
        return byCode(details, request, cause);
    }
  }

  private static AllocationException byCode(ErrorDetails details, Message request, Throwable cause) {
    switch (details.getCode()) {
      case INVALID_ARGUMENT:
        return new InvalidRequestException(details, request, cause);
      case NOT_FOUND:
        return new NotFoundException(details, request, cause);
      case FAILED_PRECONDITION:
        return new RefusedException(details, request, cause);
      case RESOURCE_EXHAUSTED:
      case UNAVAILABLE:
      case ABORTED:
      case DEADLINE_EXCEEDED:
        return new TryAgainException(details, request, cause);
      case PERMISSION_DENIED:
      case UNAUTHENTICATED:
        return new NotPermittedException(details, request, cause);
      case UNIMPLEMENTED:
        return new NotSupportedException(details, request, cause);
      default:
        return new GatewayFailureException(details, request, cause);
    }
  }

  /** Returns the request id of a request; empty if it has none. */
  static String requestIdOf(Message request) {
    FieldDescriptor field = request.getDescriptorForType().findFieldByName(REQUEST_ID);
    return field == null ? "" : (String) request.getField(field);
  }

  /** All that the status tells. The methods below have its parts. */
  public ErrorDetails getDetails() {
    return details;
  }

  /** Returns what a text adds that tells to repeat the call: the account, if the call was for one. */
  final String andAccount() {
    return account.isEmpty() ? "" : " and account " + account;
  }

  AllocationException inAccount(String name) {
    account = name;
    return this;
  }

  /**
   * What was asked for, with its request id. {@code client.call(exception.getRequest(),
   * RequestOptions.DEFAULT.withAccount(exception.getAccount()))} repeats it.
   */
  public Message getRequest() {
    return request;
  }

  /** The id of a write; empty for a read. */
  public String getRequestId() {
    return requestIdOf(request);
  }

  /** The account that the call was for, which a repetition has to be for too; empty if it named none. */
  public String getAccount() {
    return account;
  }

  /** See {@link ErrorDetails#getCode()}. */
  public Status.Code getCode() {
    return details.getCode();
  }

  /** See {@link ErrorDetails#getReason()}. */
  public String getReason() {
    return details.getReason();
  }

  /** See {@link ErrorDetails#getEffect()}. */
  public String getEffect() {
    return details.getEffect();
  }

  /** See {@link ErrorDetails#getMetadata()}. */
  public Map<String, String> getMetadata() {
    return details.getMetadata();
  }

  /** See {@link ErrorDetails#getRetryAfter()}. */
  public Optional<Duration> getRetryAfter() {
    return details.getRetryAfter();
  }

  /** See {@link ErrorDetails#getFieldViolations()}. */
  public List<BadRequest.FieldViolation> getFieldViolations() {
    return details.getFieldViolations();
  }

  /** See {@link ErrorDetails#getResource()}. */
  public Optional<ResourceInfo> getResource() {
    return details.getResource();
  }

  /** See {@link ErrorDetails#getExcludedServices()}. */
  public List<ExcludedService> getExcludedServices() {
    return details.getExcludedServices();
  }

  /** See {@link ErrorDetails#getOmittedServices()}. */
  public int getOmittedServices() {
    return details.getOmittedServices();
  }

  /** See {@link ErrorDetails#getAllocation()}. */
  public Optional<Allocation> getAllocation() {
    return details.getAllocation();
  }

  /** See {@link ErrorDetails#getConsignmentAllocation()}. */
  public Optional<ConsignmentAllocation> getConsignmentAllocation() {
    return details.getConsignmentAllocation();
  }

  /** See {@link ErrorDetails#getUnreadable()}. */
  public List<String> getUnreadable() {
    return details.getUnreadable();
  }

  /** See {@link ErrorDetails#getFailedAllocation()}. */
  public Optional<FailedAllocation> getFailedAllocation() {
    return details.getFailedAllocation();
  }

  /** See {@link ErrorDetails#getProgress()}. */
  public Optional<WriteProgress> getProgress() {
    return details.getProgress();
  }
}

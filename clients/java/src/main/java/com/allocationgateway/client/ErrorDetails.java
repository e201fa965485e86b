package com.allocationgateway.client;

import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.ConsignmentAllocation;
import com.allocationgateway.allocation.v1.ExcludedService;
import com.allocationgateway.allocation.v1.ExcludedServices;
import com.allocationgateway.allocation.v1.FailedAllocation;
import com.allocationgateway.allocation.v1.WriteProgress;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.ResourceInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What a status tells, with all details that the gateway sends. Immutable. */
public final class ErrorDetails implements Serializable {
  private static final long serialVersionUID = 1;
  private static final String DOMAIN = "allocation.v1";
  // What is longer is as good as never, and could not be counted in nanoseconds.
  private static final long LONGEST_SECONDS = Duration.ofDays(36_500).toSeconds();

  private final com.google.rpc.Status status;

  private ErrorDetails(com.google.rpc.Status status) {
    this.status = status;
  }

  /** Returns what a status tells that is part of an answer, such as why an item of a job was refused. */
  public static ErrorDetails of(com.google.rpc.Status status) {
    return new ErrorDetails(status);
  }

  /** The gRPC status code. */
  public Status.Code getCode() {
    return Status.fromCodeValue(status.getCode()).getCode();
  }

  /** What happened, for people. It may change at any time. */
  public String getText() {
    return status.getMessage();
  }

  /**
   * The name of an {@link com.allocationgateway.allocation.v1.ErrorReason} without its prefix, such as {@code
   * SHIPMENT_NOT_FOUND}; a newer gateway may have others. Empty if the status is not the gateway's: a lost connection,
   * a time-out, a proxy.
   */
  public String getReason() {
    return info().map(ErrorInfo::getReason).orElse("");
  }

  /**
   * {@code none} if nothing was done under this request id, {@code made} if it was done although the call failed,
   * {@code unknown}, or empty if nothing is said of it.
   */
  public String getEffect() {
    return getMetadata().getOrDefault("effect", "");
  }

  /** What else the gateway said, such as {@code upstream_status} and {@code upstream_correlation_id}. */
  public Map<String, String> getMetadata() {
    return info().map(ErrorInfo::getMetadataMap).orElse(Map.of());
  }

  /** After how long to come back. */
  public Optional<Duration> getRetryAfter() {
    return detail(RetryInfo.class)
        .filter(RetryInfo::hasRetryDelay)
        .map(RetryInfo::getRetryDelay)
        .map(delay -> Duration.ofSeconds(Math.min(delay.getSeconds(), LONGEST_SECONDS), delay.getNanos()));
  }

  /** Which fields of the request are wrong. */
  public List<BadRequest.FieldViolation> getFieldViolations() {
    return detail(BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of());
  }

  /** What was not found. */
  public Optional<ResourceInfo> getResource() {
    return detail(ResourceInfo.class);
  }

  /** Why carrier services were excluded, as many of them as fit. */
  public List<ExcludedService> getExcludedServices() {
    return detail(ExcludedServices.class).map(ExcludedServices::getExcludedServicesList).orElse(List.of());
  }

  /** How many more were excluded. */
  public int getOmittedServices() {
    return detail(ExcludedServices.class).map(ExcludedServices::getOmittedCount).orElse(0);
  }

  /** The allocation of the shipment that is there, or was made although the call failed. */
  public Optional<Allocation> getAllocation() {
    return detail(Allocation.class);
  }

  /** The same of a consignment. */
  public Optional<ConsignmentAllocation> getConsignmentAllocation() {
    return detail(ConsignmentAllocation.class);
  }

  /** What of that allocation could not be read: JSON paths in upstream's answer. */
  public List<String> getUnreadable() {
    return getAllocation()
        .map(one -> List.copyOf(one.getUnreadableList()))
        .or(() -> getConsignmentAllocation().map(one -> List.copyOf(one.getUnreadableList())))
        .orElse(List.of());
  }

  /** Why a consignment could not be allocated. */
  public Optional<FailedAllocation> getFailedAllocation() {
    return detail(FailedAllocation.class);
  }

  /** What is known of each reference of a bulk call. */
  public Optional<WriteProgress> getProgress() {
    return detail(WriteProgress.class);
  }

  /** The reason or the code, what happened, and the fields that are wrong. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(getReason().isEmpty() ? getCode().name() : getReason());
    if (!getText().isEmpty()) {
      text.append(": ").append(getText());
    }
    for (BadRequest.FieldViolation one : getFieldViolations()) {
      text.append(" (").append(one.getField()).append(": ").append(one.getDescription()).append(')');
    }
    return text.toString();
  }

  boolean isOfGateway() {
    return info().isPresent();
  }

  private Optional<ErrorInfo> info() {
    return first(ErrorInfo.class).filter(one -> one.getDomain().equals(DOMAIN));
  }

  /** Returns the first detail of a type, if the status is the gateway's and the detail can be read. */
  private <D extends Message> Optional<D> detail(Class<D> type) {
    return isOfGateway() ? first(type) : Optional.empty();
  }

  private <D extends Message> Optional<D> first(Class<D> type) {
    for (Any one : status.getDetailsList()) {
      if (one.is(type)) {
        try {
          return Optional.of(one.unpack(type));
        } catch (InvalidProtocolBufferException unreadable) {
          return Optional.empty();
        }
      }
    }
    return Optional.empty();
  }
}

package com.allocationgateway.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.allocationgateway.allocation.v1.AllocateShipmentRequest;
import com.allocationgateway.allocation.v1.Allocation;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.ResourceInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ErrorDetailsTest {
  private static final Any RESOURCE = Any.pack(ResourceInfo.newBuilder().setResourceName("sp_1").build());

  private static com.google.rpc.Status status(String domain, Any... details) {
    ErrorInfo info =
        ErrorInfo.newBuilder().setDomain(domain).setReason("A_REASON").putMetadata("effect", "made").build();
    return com.google.rpc.Status.newBuilder()
        .setCode(Status.Code.INTERNAL.value())
        .setMessage("As the test has it.")
        .addDetails(Any.pack(info))
        .addAllDetails(List.of(details))
        .build();
  }

  @Test
  void theGatewaysDetailsAreRead() {
    Allocation allocation = Allocation.newBuilder().addUnreadable("price.net").build();
    ErrorDetails details = ErrorDetails.of(status("allocation.v1", RESOURCE, Any.pack(allocation)));
    assertEquals(Status.Code.INTERNAL, details.getCode());
    assertEquals("A_REASON", details.getReason());
    assertEquals("made", details.getEffect());
    assertEquals("sp_1", details.getResource().orElseThrow().getResourceName());
    assertEquals(Optional.of(allocation), details.getAllocation());
    assertEquals(List.of("price.net"), details.getUnreadable());
    assertTrue(details.getRetryAfter().isEmpty());
    assertEquals("A_REASON: As the test has it.", details.toString());
  }

  @Test
  void thoseOfAnybodyElseAreNotTakenForThem() {
    ErrorDetails details = ErrorDetails.of(status("somebody.else", RESOURCE));
    assertEquals("", details.getReason());
    assertEquals("", details.getEffect());
    assertTrue(details.getResource().isEmpty());
    assertEquals("INTERNAL: As the test has it.", details.toString());
  }

  @Test
  void whatCannotBeReadIsNotTold() {
    Any broken = RESOURCE.toBuilder().setValue(ByteString.copyFromUtf8("\u00ff")).build();
    ErrorDetails details = ErrorDetails.of(status("allocation.v1", broken));
    assertEquals("A_REASON", details.getReason());
    assertTrue(details.getResource().isEmpty());
    Metadata trailers = new Metadata();
    trailers.put(Failures.DETAILS, new byte[] {-1});
    Failure failure = Failure.of(Status.NOT_FOUND.withDescription("text"), trailers);
    assertFalse(failure.isOfGateway());
    assertEquals("NOT_FOUND: text", failure.details().toString());
  }

  @Test
  void theFieldsThatAreWrongAreInItsText() {
    BadRequest.FieldViolation wrong =
        BadRequest.FieldViolation.newBuilder().setField("request_id").setDescription("no UUID").build();
    Any packed = Any.pack(BadRequest.newBuilder().addFieldViolations(wrong).build());
    assertEquals(
        "A_REASON: As the test has it. (request_id: no UUID)",
        ErrorDetails.of(status("allocation.v1", packed)).toString());
  }

  @Test
  void anExceptionCanBeKept() throws Exception {
    AllocateShipmentRequest request = AllocateShipmentRequest.newBuilder().setRequestId("mine").build();
    AllocationException thrown =
        new UnknownOutcomeException(ErrorDetails.of(status("allocation.v1", RESOURCE)), request, null);
    ByteArrayOutputStream kept = new ByteArrayOutputStream();
    try (ObjectOutputStream stream = new ObjectOutputStream(kept)) {
      stream.writeObject(thrown);
    }
    try (ObjectInputStream stream = new ObjectInputStream(new ByteArrayInputStream(kept.toByteArray()))) {
      UnknownOutcomeException read = (UnknownOutcomeException) stream.readObject();
      assertEquals("mine", read.getRequestId());
      assertEquals(request, read.getRequest());
      assertEquals("A_REASON", read.getReason());
      assertTrue(read.getMessage().endsWith("repeat the call with request id mine"));
    }
  }
}

import com.allocationgateway.allocation.v1.AllocateShipmentWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.allocation.v1.ShipmentAllocationServiceGrpc;
import com.google.type.Money;
import io.grpc.ManagedChannelBuilder;
import java.math.BigDecimal;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Calls the gateway by the generated stub: once, and never again. */
final class ByStub {
  private ByStub() {}

  static Main.Allocate open(String address) {
    ShipmentAllocationServiceGrpc.ShipmentAllocationServiceBlockingStub stub =
        ShipmentAllocationServiceGrpc.newBlockingStub(
            ManagedChannelBuilder.forTarget(address).usePlaintext().build());
    return (shipment, group) -> {
      AllocateShipmentWithServiceGroupRequest request =
          AllocateShipmentWithServiceGroupRequest.newBuilder()
              .setShipmentReference(shipment)
              .setRequestId(UUID.randomUUID().toString())
              .setServiceGroup(group)
              .build();
      Allocation allocation =
          stub.withDeadlineAfter(20, TimeUnit.SECONDS).allocateShipmentWithServiceGroup(request).getAllocation();
      Money gross = allocation.getPrice().getGross();
      BigDecimal price = BigDecimal.valueOf(gross.getUnits()).add(BigDecimal.valueOf(gross.getNanos(), 9));
      return new Allocated(allocation.getCarrier().getName(), price);
    };
  }
}

import com.allocationgateway.allocation.v1.AllocateShipmentWithServiceGroupRequest;
import com.allocationgateway.allocation.v1.Allocation;
import com.allocationgateway.client.AllocationClient;
import com.allocationgateway.client.Money;

/** Calls the gateway by its client. */
final class ByClient {
  private ByClient() {}

  static Main.Allocate open(String address) {
    AllocationClient client = AllocationClient.builder(address).plaintext().build();
    return (shipment, group) -> {
      AllocateShipmentWithServiceGroupRequest request =
          AllocateShipmentWithServiceGroupRequest.newBuilder()
              .setShipmentReference(shipment)
              .setServiceGroup(group)
              .build();
      Allocation allocation = client.shipments().allocateShipmentWithServiceGroup(request).getAllocation();
      return new Allocated(allocation.getCarrier().getName(), Money.of(allocation.getPrice().getGross()).getAmount());
    };
  }
}

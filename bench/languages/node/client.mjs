import { Client, money } from "allocation-gateway-client";

/** Calls the gateway by its client. */
export function open(address) {
  const client = new Client(address, { plaintext: true });
  return async (shipmentReference, serviceGroup) => {
    const { allocation } = await client.shipments.allocateShipmentWithServiceGroup({ shipmentReference, serviceGroup });
    return [allocation.carrier.name, money(allocation.price.gross).amount];
  };
}

import { randomUUID } from "node:crypto";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { money } from "allocation-gateway-client";
import { ShipmentAllocationService } from "allocation-gateway-client/allocation/v1";

/** Calls the gateway by gRPC and its messages alone, once, and never again. */
export function open(address) {
  const client = new Client(address, credentials.createInsecure());
  const { input, output, name, parent } = ShipmentAllocationService.method.allocateShipmentWithServiceGroup;
  return (shipmentReference, serviceGroup) =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/${parent.typeName}/${name}`,
        (request) => Buffer.from(toBinary(input, request)),
        (answer) => fromBinary(output, answer),
        create(input, { shipmentReference, requestId: randomUUID(), serviceGroup }),
        new Metadata(),
        { deadline: Date.now() + 20_000 },
        (error, answer) =>
          error ? reject(error) : resolve([answer.allocation.carrier.name, money(answer.allocation.price.gross).amount]),
      );
    });
}

/** Reads a shipment by the TypeScript client: a call for each line of standard input, a line of standard output for each. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Client, type CallOptions, type ClientOptions } from "allocation-gateway-client";

const SHIPMENT = "sp_00794403010635468411384028069888";

interface Told extends ClientOptions {
  readonly address: string;
  /** The files of what `tls` has as text. */
  readonly files?: Record<string, string>;
}

const { address, files, ...options } = JSON.parse(process.argv[2] ?? "") as Told;
const read = files && Object.fromEntries(Object.entries(files).map(([name, file]) => [name, readFileSync(file)]));
const client = new Client(address, read ? { ...options, tls: { ...options.tls, ...read } } : options);
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line) as CallOptions;
  const answer = await client.shipments.getShipmentAllocation({ shipmentReference: SHIPMENT }, call).then(
    ({ allocation }) => allocation?.shipmentReference,
    (error: unknown) => (error as Error).name,
  );
  process.stdout.write(`${answer}\n`);
}
client.close();

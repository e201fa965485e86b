/** Allocates shipments by the TypeScript client, and prints a line for each outcome, and one for what ended it. */
import { Client, UnfinishedJobError } from "allocation-gateway-client";

interface Told {
  readonly address: string;
  readonly jobId: string;
  readonly references: string[];
  readonly timeoutMs: number;
  /** Whether each item comes by itself. */
  readonly trickle: boolean;
}

const { address, jobId, references, timeoutMs, trickle } = JSON.parse(process.argv[2] ?? "") as Told;
const items = references.map((shipmentReference) => ({ shipmentReference }));

async function* oneByOne() {
  yield* items;
}

const client = new Client(address, { plaintext: true });
try {
  for await (const { reference, kind } of client.shipments.allocateAll(trickle ? oneByOne() : items, {
    jobId,
    timeoutMs,
  })) {
    console.log(kind, reference);
  }
  for await (const { reference, isFinal } of client.shipments.watch(references, { timeoutMs })) {
    console.log(isFinal ? "final" : "open", reference);
  }
} catch (error) {
  if (!(error instanceof UnfinishedJobError)) {
    throw error;
  }
  console.log("unfinished", error.jobId, error.unanswered.length);
}
client.close();

import { setTimeout as sleep } from "node:timers/promises";

const WHOLE_MS = 60_000;
const ATTEMPT_MS = 20_000;
// What upstream may take to show that a request was carried out after its answer was lost.
const SETTLING_MS = 10_000;
const HEADERS = { "x-api-key": "sandbox-key", "x-api-version": "1.1" };

/** Calls the REST API. It repeats what is safe to repeat, and reads how the shipment stands where an answer was lost. */
export function open(address) {
  const send = async (method, path, end) => {
    const signal = AbortSignal.timeout(Math.max(Math.min(ATTEMPT_MS, end - Date.now()), 1));
    const answer = await fetch(`${address}${path}`, { method, headers: HEADERS, signal });
    const text = await answer.text();
    const read = answer.status === 200 ? JSON.parse(text) : undefined;
    return { read, status: answer.status, afterMs: 1000 * (Number(answer.headers.get("retry-after")) || 0) };
  };
  return async (shipment, group) => {
    const end = Date.now() + WHOLE_MS;
    const reading = `/shipments/${encodeURIComponent(shipment)}`;
    let inDoubt = false;
    let sent = 0;
    for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 5000)) {
      if (!inDoubt) {
        sent = Date.now();
      }
      const [method, path] = inDoubt ? ["GET", reading] : ["PUT", `${reading}/allocate/service_group/${encodeURIComponent(group)}`];
      const { read, status, afterMs = 0 } = await send(method, path, end).catch(() => ({}));
      if (read && (!inDoubt || read.state === "allocated")) {
        // JSON.parse makes a binary fraction of the price: it is not exact.
        const { carrier, price } = inDoubt ? read.allocation : read;
        return [carrier.name, price.gross];
      }
      if (inDoubt) {
        // Whoever has allocated it, nobody can tell; that it is not allocated is believed in the end.
        inDoubt = !(read && Date.now() - sent > SETTLING_MS);
      } else if (status === undefined || status >= 500) {
        inDoubt = true;
      } else if (status !== 429) {
        throw new Error(`upstream refused it with ${status}`);
      }
      const waitMs = Math.max(pauseMs * (0.5 + Math.random()), afterMs);
      if (Date.now() + waitMs > end) {
        throw new Error(inDoubt ? "it is not known whether the shipment was allocated" : "the time is over");
      }
      await sleep(waitMs);
    }
  };
}

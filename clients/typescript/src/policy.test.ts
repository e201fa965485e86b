import assert from "node:assert/strict";
import test from "node:test";

import { status } from "@grpc/grpc-js";

import type { Failure, Told } from "./failure.js";
import { Attempts, Budget, readsOf, WRITES, type AttemptsOptions } from "./policy.js";

const NOTHING_TOLD: Told = {
  code: status.UNKNOWN,
  details: "",
  reason: "",
  effect: "",
  metadata: {},
  retryAfterMs: undefined,
  fieldViolations: [],
  resource: undefined,
  excludedServices: [],
  omittedServices: 0,
  allocation: undefined,
  consignmentAllocation: undefined,
  failedAllocation: undefined,
  progress: undefined,
};
const READS = readsOf({
  maxAttempts: 3,
  initialBackoff: "0.1s",
  maxBackoff: "0.3s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE"],
});

function failing(code: status, told: Partial<Told> = {}, more: Partial<Failure> = {}): Failure {
  return { told: { ...NOTHING_TOLD, code, ...told }, isOfGateway: "reason" in told, pushbackMs: undefined, ...more };
}

/** Attempts with a clock that is set by hand. */
function attempts(more: Partial<AttemptsOptions> = {}): { clock: { now: number }; one: Attempts } {
  const clock = { now: 5000 };
  const one = new Attempts({
    timeoutMs: 60_000,
    attemptTimeoutMs: 20_000,
    repetition: WRITES,
    budget: new Budget(1000, 0.1),
    now: () => clock.now,
    random: () => 1,
    ...more,
  });
  return { clock, one };
}

test("pauses grow and are spread, and one that was told is never shortened", () => {
  const { one: longest } = attempts();
  const { one: shortest } = attempts({ random: () => 0 });
  const pauses = (of: Attempts, times: number): unknown[] =>
    Array.from({ length: times }, () => of.pauseAfter(failing(status.UNAVAILABLE)));
  assert.deepEqual(pauses(longest, 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  assert.deepEqual(pauses(shortest, 3), [50, 100, 200]);
  const told = failing(status.ABORTED, { reason: "WRITE_IN_PROGRESS", retryAfterMs: 2000 });
  assert.equal(attempts().one.pauseAfter(told), 2500);
  assert.equal(attempts({ random: () => 0 }).one.pauseAfter(told), 2000);
});

test("a pause of nothing that is told again and again grows as any other", () => {
  const { one } = attempts();
  for (const told of [{ retryAfterMs: 0 }, {}, { retryAfterMs: 0 }]) {
    const pauseMs = one.pauseAfter(failing(status.UNAVAILABLE, { reason: "GATEWAY_STOPPING", ...told }, { pushbackMs: 0 }));
    assert.ok(pauseMs !== undefined && pauseMs >= 100, `${pauseMs}`);
  }
  assert.equal(one.pauseAfter(failing(status.UNAVAILABLE, {}, { pushbackMs: 0 })), 800);
});

test("pushback without details counts too", () => {
  assert.equal(attempts().one.pauseAfter(failing(status.UNAVAILABLE, {}, { pushbackMs: 400 })), 500);
  assert.equal(attempts().one.pauseAfter(failing(status.UNAVAILABLE, {}, { pushbackMs: -1 })), undefined);
});

test("no attempt goes beyond the deadline", () => {
  const { clock, one } = attempts({ timeoutMs: 25_000 });
  assert.equal(one.timeoutMs(), 20_000);
  clock.now += 20_000;
  assert.equal(one.pauseAfter(failing(status.DEADLINE_EXCEEDED)), 100);
  assert.equal(one.timeoutMs(), 5000);
  clock.now += 4950;
  assert.equal(one.pauseAfter(failing(status.DEADLINE_EXCEEDED)), undefined);
  assert.ok(one.isInDoubt);
  clock.now += 1000;
  assert.equal(one.timeoutMs(), 0);
});

test("a budget is spent and earned back", () => {
  const budget = new Budget(8, 0.5);
  const repeated = (): boolean => attempts({ budget }).one.pauseAfter(failing(status.UNAVAILABLE)) !== undefined;
  assert.deepEqual(Array.from({ length: 6 }, repeated), [true, true, true, false, false, false]);
  for (let success = 0; success < 8; success++) {
    budget.earn();
  }
  assert.ok(repeated());
});

test("a stream that was of use costs nothing, and one that was not does", () => {
  const { one } = attempts({ budget: new Budget(8, 0.1) });
  for (let stream = 0; stream < 100; stream++) {
    one.comeOn();
    assert.equal(one.pauseAfter(failing(status.UNAVAILABLE)), 100);
  }
  const pauses = Array.from({ length: 5 }, () => one.pauseAfter(failing(status.UNAVAILABLE)));
  assert.deepEqual(pauses, [200, 400, 800, undefined, undefined]);
});

test("a stream that was let in is begun again with a new token", () => {
  const expired = failing(status.UNAUTHENTICATED, { reason: "CALLER_UNAUTHENTICATED" }, { pushbackMs: -1 });
  assert.equal(attempts().one.pauseAfter(expired), undefined);
  assert.equal(attempts().one.pauseAfter(expired, true), 100);
  const refused = failing(status.PERMISSION_DENIED, { reason: "CALLER_NOT_ALLOWED" }, { pushbackMs: -1 });
  assert.equal(attempts().one.pauseAfter(refused, true), undefined);
});

test("a doubt stays until the gateway says that nothing was done", () => {
  const { one } = attempts();
  one.pauseAfter(failing(status.UNAVAILABLE));
  one.pauseAfter(failing(status.UNAUTHENTICATED));
  one.pauseAfter(failing(status.UNIMPLEMENTED, { reason: "OPERATION_DISABLED" }));
  assert.ok(one.isInDoubt);
  one.pauseAfter(failing(status.NOT_FOUND, { reason: "SHIPMENT_NOT_FOUND", effect: "none" }));
  assert.ok(!one.isInDoubt);
});

test("a read is repeated as the service configuration says", () => {
  const { one } = attempts({ repetition: READS });
  assert.equal(one.pauseAfter(failing(status.UNAVAILABLE)), 100);
  assert.equal(one.pauseAfter(failing(status.UNAVAILABLE)), 200);
  assert.equal(one.pauseAfter(failing(status.UNAVAILABLE)), undefined);
  assert.equal(attempts({ repetition: READS }).one.pauseAfter(failing(status.UNKNOWN)), undefined);
  const never = failing(status.UNAVAILABLE, {}, { pushbackMs: -1 });
  assert.equal(attempts({ repetition: READS }).one.pauseAfter(never), undefined);
  assert.equal(attempts({ repetition: readsOf(undefined) }).one.pauseAfter(failing(status.UNAVAILABLE)), undefined);
});

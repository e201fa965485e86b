import assert from "node:assert/strict";
import test from "node:test";

import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { BigNumber } from "bignumber.js";

import { DecimalSchema } from "./gen/google/type/decimal_pb.js";
import { MoneySchema } from "./gen/google/type/money_pb.js";
import { milliseconds } from "./service_config.js";
import { decimal, money, time } from "./values.js";

const AMOUNTS: readonly [units: bigint, nanos: number, text: string][] = [
  [2n, 0, "2.00"],
  [0n, 0, "0.00"],
  [0n, -10_000_000, "-0.01"],
  [-1n, -500_000_000, "-1.50"],
  [0n, 1, "0.000000001"],
  [2n ** 63n - 1n, 999_999_999, "9223372036854775807.999999999"],
  [-(2n ** 63n), -999_999_999, "-9223372036854775808.999999999"],
];

test("money is exact whatever the settings of the caller", () => {
  const usual = BigNumber.config();
  BigNumber.config({ DECIMAL_PLACES: 1, EXPONENTIAL_AT: [-1, 1], ROUNDING_MODE: BigNumber.ROUND_UP });
  try {
    for (const [units, nanos, text] of AMOUNTS) {
      const read = money(create(MoneySchema, { currencyCode: "GBP", units, nanos }));
      assert.equal(String(read), `${text} GBP`);
      assert.ok(read.amount.eq(text));
    }
  } finally {
    BigNumber.config(usual);
  }
});

test("what is no amount is not guessed", () => {
  for (const wrong of [{ units: 1n, nanos: -1 }, { units: -1n, nanos: 1 }, { nanos: 1_000_000_000 }]) {
    assert.throws(() => money(create(MoneySchema, wrong)), RangeError);
  }
  for (const value of ["many", "0x10", "1.2.3", "NaN", "Infinity", "."]) {
    assert.throws(() => decimal(create(DecimalSchema, { value })), RangeError);
  }
});

test("decimals and times", () => {
  for (const [value, text] of [["0.200", "0.2"], ["", "0"], ["+2.5e8", "250000000"], ["-.5", "-0.5"]] as const) {
    assert.equal(decimal(create(DecimalSchema, { value })).toFixed(), text);
  }
  const read = (seconds: bigint, nanos: number): string =>
    time(create(TimestampSchema, { seconds, nanos })).toISOString();
  assert.equal(read(1_700_000_000n, 123_999_999), "2023-11-14T22:13:20.123Z");
  assert.equal(read(-1n, 500_000_000), "1969-12-31T23:59:59.500Z");
});

test("durations of the service configuration", () => {
  assert.deepEqual(["20s", "0.1s", "1.25s"].map(milliseconds), [20_000, 100, 1250]);
  for (const wrong of ["20", "s", "1m", "-1s"]) {
    assert.throws(() => milliseconds(wrong), RangeError);
  }
});

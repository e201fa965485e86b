import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { BigNumber } from "bignumber.js";

import type { Decimal as DecimalMessage } from "./gen/google/type/decimal_pb.js";
import type { Money as MoneyMessage } from "./gen/google/type/money_pb.js";

const NANOS_OF_UNIT = 1_000_000_000;
const NANOS_OF_MS = 1_000_000;
const NANO_DECIMALS = 9;
const USUAL_DECIMALS = 2;
// BigNumber would take more, such as 0x10.
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/** An exact amount of a currency. As text: `2.00 GBP`. */
export class Money {
  /** The amount. Adding, subtracting and multiplying it is exact. */
  readonly amount: BigNumber;
  /** The code of ISO 4217. */
  readonly currency: string;

  constructor(amount: BigNumber, currency: string) {
    this.amount = amount;
    this.currency = currency;
  }

  /** Returns the amount, with at least two decimals, and the currency. */
  toString(): string {
    const decimals = Math.max(this.amount.decimalPlaces() ?? 0, USUAL_DECIMALS);
    return `${this.amount.toFixed(decimals)} ${this.currency}`;
  }
}

/**
 * Returns an amount as it was sent.
 *
 * @throws RangeError: Its units and its nanos differ in sign, or the nanos are a whole unit: it is no amount at all.
 */
export function money({ units, nanos, currencyCode }: MoneyMessage): Money {
  if (Math.abs(nanos) >= NANOS_OF_UNIT || (units > 0n && nanos < 0) || (units < 0n && nanos > 0)) {
    throw new RangeError(`units ${units} and nanos ${nanos} are no amount of money`);
  }
  const fraction = new BigNumber(nanos).shiftedBy(-NANO_DECIMALS);
  return new Money(new BigNumber(units.toString()).plus(fraction), currencyCode);
}

/**
 * Returns a google.type.Decimal as it was sent, such as the value of a tax rate.
 *
 * @throws RangeError: Its text is no number.
 */
export function decimal({ value }: DecimalMessage): BigNumber {
  if (value && !DECIMAL.test(value)) {
    throw new RangeError(`${JSON.stringify(value)} is no decimal number`);
  }
  return new BigNumber(value || 0);
}

/** Returns a time. Date knows milliseconds: what is finer is cut off. */
export function time({ seconds, nanos }: Timestamp): Date {
  return new Date(Number(seconds) * 1000 + Math.floor(nanos / NANOS_OF_MS));
}

package gateway

import (
	"fmt"

	"github.com/shopspring/decimal"
	decimalpb "google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
)

const (
	nanosOfUnit   = 1_000_000_000
	nanosDecimals = 9
	usualDecimals = 2
)

// Money is an exact amount of a currency.
type Money struct {
	// Amount is the amount.
	Amount decimal.Decimal
	// Currency is the code of ISO 4217.
	Currency string
}

// String returns the amount with at least two decimals, and the currency: 2.00 GBP.
func (m Money) String() string {
	places := max(usualDecimals, -m.Amount.Exponent())
	return m.Amount.StringFixed(places) + " " + m.Currency
}

// MoneyOf returns an amount as it was sent. It fails if its units and its nanos differ in sign, or the nanos are a whole unit:
// that is no amount at all.
func MoneyOf(message *money.Money) (Money, error) {
	units, nanos := message.GetUnits(), int64(message.GetNanos())
	if nanos <= -nanosOfUnit || nanos >= nanosOfUnit || (units > 0 && nanos < 0) || (units < 0 && nanos > 0) {
		return Money{}, fmt.Errorf("units %d and nanos %d are no amount of money", units, nanos)
	}
	// No more decimals than it has.
	places := int32(nanosDecimals)
	for places > 0 && nanos%10 == 0 {
		nanos /= 10
		places--
	}
	return Money{decimal.NewFromInt(units).Add(decimal.New(nanos, -places)), message.GetCurrencyCode()}, nil
}

// DecimalOf returns a google.type.Decimal as it was sent, such as the value of a tax rate. It fails if its text is no number.
func DecimalOf(message *decimalpb.Decimal) (decimal.Decimal, error) {
	if message.GetValue() == "" {
		return decimal.Zero, nil
	}
	return decimal.NewFromString(message.GetValue())
}

"""What the quotes promised that were seen lately, so that an allocation can be compared with its quote."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from allocation.v1 import core_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.type.money_pb2 import Money

_MOST: Final = 10_000


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """What a quote promises.

    Attributes:
        service: The reference of the carrier service; empty if it is not known.
        currency: The currency of the price, as three letters of ISO 4217.
        units: The whole units of the price with taxes.
        nanos: The billionths of a unit beyond them.
    """

    service: str
    currency: str
    units: int
    nanos: int

    def agrees(self, price: Money) -> bool:
        """Tells whether a price is the promised one, or the quote had none."""
        promised = (self.currency, self.units, self.nanos)
        return not self.currency or promised == (price.currency_code, price.units, price.nanos)


def encode(terms: Terms | None) -> bytes:
    """Returns terms as a claim keeps them; nothing for none."""
    return b"" if terms is None else msgspec.json.encode(terms)


def decode(note: bytes) -> Terms | None:
    """Returns the terms that a claim keeps; None if it keeps none."""
    return msgspec.json.decode(note, type=Terms) if note else None


class Quotes:
    """The terms of the quotes that were seen last, by reference. They are bounded by count."""

    def __init__(self) -> None:
        self._terms: OrderedDict[str, Terms] = OrderedDict()

    def remember(self, response: Message) -> None:
        """Remembers the quotes of a response, if it is one of quotes."""
        for quote in getattr(response, "quotes", ()):
            self._terms[quote.reference] = _terms(quote)
            self._terms.move_to_end(quote.reference)
        while len(self._terms) > _MOST:
            self._terms.popitem(last=False)

    def of(self, request: Any) -> Terms | None:
        """Returns what the quote promised that a request allocates; None if it names none, or it is not known."""
        return self._terms.get(getattr(request, "quote_reference", ""))


def _terms(quote: Any) -> Terms:
    service = quote.carrier.service_reference if isinstance(quote, core_pb2.Quote) else quote.carrier_service_reference
    gross = quote.price.gross
    return Terms(service, gross.currency_code, gross.units, gross.nanos)

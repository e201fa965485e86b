"""What the quotes promised that were seen lately, so that an allocation can be compared with its quote."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.references import folded
from allocation_gateway.writes.note import Terms

if TYPE_CHECKING:
    from allocation_gateway.operations.model import Operation

_MOST: Final = 10_000
# No shipment has nearly as many. Each takes some microseconds, in which nobody else is answered.
_MOST_AT_ONCE: Final = 1_000


class Quotes:
    """The terms of the quotes that were seen last, by reference. They are bounded by count."""

    def __init__(self) -> None:
        self._terms: OrderedDict[str, Terms] = OrderedDict()

    def remember(self, operation: Operation, response: Any) -> None:
        """Remembers the quotes of a response.

        Args:
            operation: The row that was called. Its response has quotes.
            response: The response.
        """
        for quote in response.quotes[:_MOST_AT_ONCE]:
            gross = quote.price.gross
            service = operation.allocations.quoted_service(quote)
            name = folded(quote.reference)
            self._terms[name] = Terms(service, gross.currency_code, gross.units, gross.nanos)
            self._terms.move_to_end(name)
        while len(self._terms) > _MOST:
            self._terms.popitem(last=False)

    def of(self, request: Any) -> Terms | None:
        """Returns what the quote promised that a request allocates; None if it names none, or it is not known."""
        return self._terms.get(folded(getattr(request, "quote_reference", "")))

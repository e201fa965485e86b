"""A write as its caller asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.writes.note import Terms


@dataclass(slots=True)
class WriteRequest:
    """A write that a caller asks for.

    Attributes:
        operation: The row that carries it out.
        route: The spelling of it that is configured.
        message: The request. Its service group is still as the caller wrote it, if there is something to prepare.
        is_named: Whether its id is the caller's own, so that the caller may have used it before.
        fingerprint: That of the request as the caller sent it.
        terms: What the quote promised that it allocates; None if that is not known.
        prepare: Makes the message what is to be sent; None if it is. Takes the seconds that there are.
    """

    operation: Operation
    route: Route
    message: Any
    is_named: bool
    fingerprint: str
    terms: Terms | None
    prepare: Callable[[float], Awaitable[None]] | None = None

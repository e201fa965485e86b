"""A write as its caller asks for it, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation, Route
    from allocation_gateway.writes.batch import Batch
    from allocation_gateway.writes.clocks import Interval
    from allocation_gateway.writes.note import Terms

    Prepare: TypeAlias = Callable[[float], Awaitable[Message]]


class WriteRequest(msgspec.Struct, frozen=True):
    """A write that a caller asks for.

    Attributes:
        operation: The row that carries it out.
        route: The spelling of it that is configured.
        message: The request. Its service group is still as the caller wrote it, if there is something to prepare.
        is_named: Whether its id is the caller's own, so that the caller may have used it before.
        fingerprint: That of the request as the caller sent it.
        terms: What the quote promised that it allocates; None if that is not known.
        prepare: Returns the message that is to be sent, within so many seconds, or fails with a GatewayError; None if
            the message is to be sent as it is.
        batch: What it is sent with, if it is one of several bulk calls of one reference; None if it is sent by itself.
    """

    operation: Operation
    route: Route
    message: Any
    is_named: bool
    fingerprint: str
    terms: Terms | None
    prepare: Prepare | None = None
    batch: Batch | None = None


class WriteResult(msgspec.Struct, frozen=True):
    """What came of a write that was carried out.

    Attributes:
        response: The response.
        message: The request as upstream gets it; None if it was answered before that was known.
        answered: When it was answered, if its claim remembers it; None if that was just now.
        is_recorded: Whether its claim has the response, so that whoever asks again is told the same.
    """

    response: Message
    message: Any | None
    answered: Interval | None = None
    is_recorded: bool = True

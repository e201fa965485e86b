"""A write that holds its claim, and what reading has told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocation_gateway.operations.model import references_field
from allocation_gateway.writes import errors, responses
from allocation_gateway.writes.readback import ReadBack

if TYPE_CHECKING:
    from allocation_gateway.claims.model import ClaimStore
    from allocation_gateway.errors import GatewayError
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.writes.claim_handle import ClaimHandle
    from allocation_gateway.writes.context import WriteContext


class ClaimedWrite:
    """A write that holds its claim.

    Attributes:
        operation: Its row.
        handle: The claim.
        message: The request as it is sent, or was by whoever held the claim before.
    """

    __slots__ = ("_context", "_readback", "_store", "handle", "message", "operation")

    def __init__(self, context: WriteContext, store: ClaimStore, handle: ClaimHandle, message: Any) -> None:
        self._context = context
        self._store = store
        self._readback: ReadBack | None = None
        self.operation: Operation = context.request.operation
        self.handle = handle
        self.message = message

    @property
    def readback(self) -> ReadBack:
        """What reading has told, and how to read more."""
        if self._readback is None:
            self._readback = self.new_readback()
        return self._readback

    def new_readback(self) -> ReadBack:
        """Returns one that has told nothing yet, for what is read before anything is sent."""
        context = self._context
        for_stream = context.request.batch is not None
        return ReadBack(context.api, self._store, self.operation, self.message, self.handle, for_stream=for_stream)

    def remaining(self) -> Any:
        """Returns the request for what is not known to have come to an end: all of it, if nothing was read."""
        if not self.operation.action.is_bulk or self._readback is None:
            return self.message
        remaining = type(self.message)()
        remaining.CopyFrom(self.message)
        references = getattr(remaining, references_field(type(remaining)))
        del references[:]
        references.extend(self._readback.undetermined())
        return remaining

    def completed(self, response: Any) -> Any:
        """Returns the response of a bulk call with what reading has told; that of any other call as it is."""
        if not self.operation.action.is_bulk or self._readback is None:
            return response
        return responses.bulk(self.operation, self.message, self._readback.known, response)

    def in_doubt(self, cause: GatewayError) -> GatewayError:
        """Returns the error for callers who are told that it is in doubt, with what is known of a bulk call."""
        detail = None
        if self.operation.action.is_bulk and self._readback is not None:
            detail = responses.progress(self._readback.known, self._readback.undetermined())
        return errors.in_doubt(cause, detail)

"""What the answers of bulk calls have in common, whichever of their forms they have: see ship_answers.py and the like.

A bulk answer says of each shipment or consignment what became of it, or leaves that open. What reading finds out of
those completes it.

Of a hundred items that are sent together each has its part of an answer, whose lists are short. They are copied as a
slice before they are read, as in `response.queued[:]`: an iterator over a field costs several times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocation.v1 import core_pb2
    from allocation.v1.error_reason_pb2 import ErrorReason
    from google.protobuf.message import Message

    from allocation_gateway.errors import AnyAllocation, GatewayError
    from allocation_gateway.operations.assessment import Assessed

ALLOCATED_BEFORE: Final = "It was allocated before."


class Rejection(NamedTuple):
    """Why a shipment or consignment was rejected.

    Attributes:
        reason: The reason, where an answer of this form gives one of ours; else None.
        code: Upstream's own code; empty if there is none.
        message: Upstream's text, for people.
        allocation: How the allocation has failed; None if that is not told.
        excluded: The services that were excluded.
    """

    reason: ErrorReason.ValueType | None
    code: str
    message: str
    allocation: Message | None = None
    excluded: Sequence[core_pb2.ExcludedService] = ()


class ItemAnswer(NamedTuple):
    """What a response says of one shipment or consignment. With nothing set it does not say what became of it.

    Attributes:
        is_taken: Whether upstream has taken it in hand.
        is_allocated: Whether the response itself says that it is allocated.
        allocation: Its allocation, which may still be on its way; None if there is none.
        rejection: Why it was rejected; None if it was not.
    """

    is_taken: bool = False
    is_allocated: bool = False
    allocation: AnyAllocation | None = None
    rejection: Rejection | None = None


class BulkAnswer(Protocol):
    """One form of bulk answers. A response is a message of an rpc whose answers have that form."""

    @property
    def tells_of_each(self) -> bool:
        """Whether a response has a place for what was refused, and for what is not known."""

    def undetermined(self, response: Any) -> list[str]:
        """Returns the references of which a response does not say what became of them."""

    def done(self, response: Any) -> list[str]:
        """Returns the references of which a response says that they are allocated now, or de-allocated."""

    def taken(self, response: Any) -> list[str]:
        """Returns the references of which a response says that upstream has taken them in hand, or has done them."""

    def allocation_of(self, response: Any, reference: str) -> AnyAllocation | None:
        """Returns the allocation that a response tells of a reference; None if it tells none."""

    def item(self, response: Any, reference: str) -> ItemAnswer:
        """Returns what a response says of the only reference of its call."""

    def complete(
        self, response: Any, references: Sequence[str], known: Mapping[str, Assessed], *, allocates: bool
    ) -> Any:
        """Returns a response with what reading has told.

        Args:
            response: What upstream answered, or refuse() made.
            references: All references of the call, in their order.
            known: What reading has told of some: only DONE, NOT_OWN or UNDECIDED.
            allocates: Whether the call is an allocation.
        """

    def refuse(self, response: Any, references: Sequence[str], refusal: GatewayError) -> Any:
        """Returns an empty response with references that were refused."""

    def parts(self, response: Any, references: Sequence[str]) -> list[Any]:
        """Returns what a response says of each reference, as the response of a call for that one alone."""


def by_reference(items: Iterable[Any], field: str) -> dict[str, list[Any]]:
    """Returns items by the reference that a field of theirs has."""
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(getattr(item, field), []).append(item)
    return found

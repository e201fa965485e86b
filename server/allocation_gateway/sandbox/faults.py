"""What can be asked to go wrong, and which requests it goes wrong for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

# Nothing is held up longer than this, so that a forgotten fault cannot keep a server alive.
LONGEST_WAIT = 600.0
LARGEST_BODY = 256 * 1024 * 1024

Seconds = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT)]
Moment = Literal["before", "after"]


class _Action(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What happens to a request that a fault hits. "Before" and "after" mean the effect on the world."""


class Latency(_Action, frozen=True, kw_only=True, tag="latency"):
    """The right answer, late."""

    seconds: Seconds
    when: Moment = "before"


class Status(_Action, frozen=True, kw_only=True, tag="status"):
    """Another answer. A `body` that is a string is sent as it is, any other as JSON, none as nothing.

    With `when` "after" the effect happens all the same.
    """

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    body: Any = None
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    when: Moment = "before"

    def __post_init__(self) -> None:
        """Refuse headers that would break out of their line."""
        for text in (self.content_type, *self.headers, *self.headers.values()):
            if any(character in text for character in "\r\n\0"):
                raise ValueError("a header may hold no line break and no NUL")


class Drop(_Action, frozen=True, kw_only=True, tag="drop"):
    """The connection dies: before the effect, after it, or after it and during the answer's body."""

    when: Literal["before", "during", "after"]


class LateEffect(_Action, frozen=True, kw_only=True, tag="late_effect"):
    """The connection dies at once, and the effect happens so many seconds later."""

    seconds: Seconds


class Malformed(_Action, frozen=True, kw_only=True, tag="malformed"):
    """The right status with a body that is not JSON."""

    body: str = "<html><body>This is not JSON.</body></html>"


class Truncate(_Action, frozen=True, kw_only=True, tag="truncate"):
    """Half the right body: announced at its full length and then ended, or announced as the half it is."""

    announced: Literal["full", "half"] = "full"


class Oversize(_Action, frozen=True, kw_only=True, tag="oversize"):
    """The right body followed by so many bytes of white space: still the same JSON, but huge."""

    size: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_BODY)] = 16 * 1024 * 1024


class Hang(_Action, frozen=True, kw_only=True, tag="hang"):
    """No answer until the client leaves, or until `seconds` have passed and the connection is dropped."""

    when: Moment = "before"
    seconds: Seconds = 60.0


Action = Latency | Status | Drop | LateEffect | Malformed | Truncate | Oversize | Hang


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests: all that fit every member given. None fits anything.

    `path` is a path template such as `/shipments/{reference}/allocate`. `reference` is looked for among the path's
    parameters and in the body, so that it finds a bulk request too.
    """

    method: str | None = None
    path: str | None = None
    reference: str | None = None

    def fits(self, method: str, template: str | None, parameters: Iterable[str], body: bytes) -> bool:
        """Whether a request is one of those meant."""
        return (
            self.method in {None, method}
            and self.path in {None, template}
            and (self.reference is None or self.reference in parameters or self.reference.encode() in body)
        )


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An action for the next `count` requests that match; None means for all of them."""

    action: Action
    match: Match = Match()
    count: Annotated[int, msgspec.Meta(ge=1)] | None = 1


class _Armed:
    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.hits = 0

    @property
    def spent(self) -> bool:
        return self.fault.count is not None and self.hits >= self.fault.count

    def view(self) -> dict[str, object]:
        return {"id": self.number, "hits": self.hits, **msgspec.to_builtins(self.fault)}


class FaultBook:
    """The faults that were asked for, in the order in which they were."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._added = 0

    def add(self, fault: Fault) -> int:
        """Arm a fault; the answer is its id."""
        self._added += 1
        self._armed.append(_Armed(self._added, fault))
        return self._added

    def strike(self, method: str, template: str | None, parameters: Iterable[str], body: bytes) -> Action | None:
        """The action for this request: the oldest fault that matches and is not spent counts a hit."""
        for armed in self._armed:
            if not armed.spent and armed.fault.match.fits(method, template, parameters, body):
                armed.hits += 1
                return armed.fault.action
        return None

    def view(self) -> list[dict[str, object]]:
        """Every fault with its hits, the spent ones too."""
        return [armed.view() for armed in self._armed]

    def clear(self) -> None:
        """Disarm and forget all."""
        self._armed.clear()

"""What a codec finds in an answer beside the message that it makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from allocation_gateway.codecs.values import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# So many defects are told in one line, and so many are kept: an answer can consist of nothing else.
_TOLD: Final = 5
_KEPT: Final = 1_000
MOST_UNREADABLE: Final = 16
"""How many entries a field `unreadable` has at most."""

# Where the paths begin that were found since: how many there were before, of those that are kept and of others.
Mark: TypeAlias = "tuple[int, int]"


class Findings:
    """What a codec finds in an answer beside the message that it makes of it.

    What cannot be read is of two kinds. What decides (whose answer it is, its state, the price and the carrier of an
    allocation) makes the answer broken; anything else is left out of the message, which names its path.

    Attributes:
        broken: What decides and cannot be used, one line each: the path and what is wrong.
        left_out: What else cannot be read, in the same form.
        foreign: True if the answer speaks of something else than what was asked for.
        made: True if the answer says that the operation was carried out.
        refused: True if the answer says that the operation was not carried out, under a status that says nothing of it.
        rests_on_status: True if only the status tells whether the operation has ended: the body shows a state alone,
            which may be left from before the request.
    """

    foreign = False
    made = False
    refused = False
    rests_on_status = False
    # An answer that is as documented has neither, and costs no list.
    broken: Sequence[str] = ()
    left_out: Sequence[str] = ()
    _paths: Sequence[str] = ()
    _uncounted = 0

    def __bool__(self) -> bool:
        """Tells whether anything is not as documented."""
        return bool(self.broken or self.left_out)

    def note(self, path: str, expected: str, value: object) -> None:
        """Tells that the value at a path is not what the documentation promises. The value itself is not quoted."""
        self.tell(path, f"expected {expected}, got {kind_of(value)}")

    def tell(self, path: str, what: str) -> None:
        """Tells what is wrong at a path, which is left out of the message."""
        self.left_out = _appended(self.left_out, f"{path}: {what}")
        self._name(path)

    def decide(self, path: str, what: str) -> None:
        """Tells what is wrong at a path that decides."""
        self.broken = _appended(self.broken, f"{path}: {what}")
        self._name(path)

    def contradict(self, path: str, what: str) -> None:
        """Tells that what stands at a path can be read, and is about something else than what was asked for."""
        self.broken = _appended(self.broken, f"{path}: {what}")
        self.foreign = True

    def _name(self, path: str) -> None:
        if len(self._paths) < _KEPT:
            self._paths = _appended(self._paths, path)
        else:
            self._uncounted += 1

    def mark(self) -> Mark:
        """Returns where the paths begin that are found from now on."""
        return len(self._paths), self._uncounted

    def claim(self, mark: Mark = (0, 0)) -> list[str]:
        """Takes the paths found since a mark, for the message that lacks them.

        There are at most MOST_UNREADABLE entries; the last one says how many more there are, if there are.
        """
        place, uncounted = mark
        found = list(self._paths[place:])
        self._paths = list(self._paths[:place])
        more = self._uncounted - uncounted
        self._uncounted = uncounted
        if len(found) + more > MOST_UNREADABLE:
            kept = found[: MOST_UNREADABLE - 1]
            return [*kept, f"and {len(found) + more - len(kept)} more"]
        return found

    def extend(self, other: Findings, paths: Sequence[str] = ()) -> None:
        """Takes over what was found in a part of the answer, and those of its paths that no message names."""
        for message in other.broken:
            self.broken = _appended(self.broken, message)
        for message in other.left_out:
            self.left_out = _appended(self.left_out, message)
        self.foreign = self.foreign or other.foreign
        for path in paths:
            self._name(path)

    @property
    def decisive(self) -> Findings:
        """The same findings for the reader of something that decides."""
        return _Decisive(self)

    @property
    def descriptive(self) -> Findings:
        """The same findings for the reader of something that does not decide, within something that does."""
        return self

    def item(self) -> ItemFindings:
        """Returns the same findings for the reader of one of several things, whose defects must not cost the others."""
        return ItemFindings(self)

    @property
    def messages(self) -> list[str]:
        """All that was found, what decides first."""
        return [*self.broken, *self.left_out]

    def why_broken(self) -> str:
        """Returns what decides and cannot be used as one line of bounded length."""
        return _summary(self.broken)

    def summary(self) -> str:
        """Returns all that was found as one line of bounded length."""
        return _summary(self.messages)


class _Decisive(Findings):
    """A view of findings in which everything decides."""

    def __init__(self, whole: Findings) -> None:
        self._whole = whole

    def tell(self, path: str, what: str) -> None:
        self._whole.decide(path, what)

    def decide(self, path: str, what: str) -> None:
        self._whole.decide(path, what)

    @property
    def decisive(self) -> Findings:
        return self

    @property
    def descriptive(self) -> Findings:
        return self._whole


class ItemFindings(Findings):
    """A view of findings for one of several things: what decides of it breaks it, and not the answer.

    Attributes:
        is_broken: True if something that decides cannot be used, so that the thing itself has to be left out.
    """

    def __init__(self, whole: Findings) -> None:
        """Tells everything to the findings of the whole."""
        self._whole = whole
        self.is_broken = False

    def tell(self, path: str, what: str) -> None:
        """Tells what is wrong at a path, which is left out of the message."""
        self._whole.tell(path, what)

    def decide(self, path: str, what: str) -> None:
        """Tells what is wrong at a path that decides of the thing."""
        self.is_broken = True
        self._whole.tell(path, what)

    def extend(self, other: Findings, paths: Sequence[str] = ()) -> None:
        """Takes over what was found in a part of the thing, and those of its paths that no message names."""
        self.is_broken = self.is_broken or bool(other.broken)
        descriptive = Findings()
        descriptive.left_out = other.messages
        self._whole.extend(descriptive, paths)


def _appended(messages: Sequence[str], message: str) -> Sequence[str]:
    """Returns the messages with another one, if it is not one too many."""
    if not isinstance(messages, list):
        return [message]
    if len(messages) < _KEPT:
        messages.append(message)
    return messages


def _summary(messages: Sequence[str]) -> str:
    more = f"; and {len(messages) - _TOLD} more" if len(messages) > _TOLD else ""
    return "; ".join(messages[:_TOLD]) + more

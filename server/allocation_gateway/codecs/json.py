"""JSON as upstream writes it: numbers keep their text, and what is at odds with the documentation is collected.

The readers below never raise. They note a defect by its path and leave the field unset, so that one bad field does not
cost the rest of an answer that may be the only trace of an allocation. Null and absent are the same, unknown fields are
passed over. A path is the JSON path in upstream's own spelling, such as `_links[2].href`; a reader gets the part of it
that leads to its object, such as `_links[2].`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Object: TypeAlias = "dict[str, Any]"


class Number(str):
    """A JSON number with a fraction or an exponent, as the exact text that upstream sent."""

    __slots__ = ()


BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class NotJsonError(Exception):
    """The bytes are not JSON. The text says why, without quoting them."""


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
    """

    foreign = False
    made = False
    refused = False
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
        for line in other.broken:
            self.broken = _appended(self.broken, line)
        for line in other.left_out:
            self.left_out = _appended(self.left_out, line)
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

    def item(self) -> Item:
        """Returns the same findings for the reader of one of several things, whose defects must not cost the others."""
        return Item(self)

    @property
    def lines(self) -> list[str]:
        """All that was found, what decides first."""
        return [*self.broken, *self.left_out]

    def why_broken(self) -> str:
        """Returns what decides and cannot be used as one line of bounded length."""
        return _summary(self.broken)

    def summary(self) -> str:
        """Returns all that was found as one line of bounded length."""
        return _summary(self.lines)


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


class Item(Findings):
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
        descriptive.left_out = other.lines
        self._whole.extend(descriptive, paths)

    def mark(self) -> Mark:
        """Returns where the paths begin that are found from now on."""
        return self._whole.mark()

    def claim(self, mark: Mark = (0, 0)) -> list[str]:
        """Takes the paths found since a mark, for the message that lacks them."""
        return self._whole.claim(mark)


_KINDS: Final = {
    str: "a string",
    Number: "a number",
    int: "a number",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    type(None): "nothing",
}
_decoder: Final = msgspec.json.Decoder(float_hook=Number)
_encoder: Final = msgspec.json.Encoder()


def _appended(lines: Sequence[str], line: str) -> Sequence[str]:
    """Returns the lines with another one, if it is not one too many."""
    if not isinstance(lines, list):
        return [line]
    if len(lines) < _KEPT:
        lines.append(line)
    return lines


def _summary(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return "; ".join(lines[:_TOLD]) + more


def kind_of(value: object) -> str:
    """Returns what JSON calls a value."""
    return _KINDS.get(type(value), "something else")


def decode(data: bytes) -> Any:
    """Parses JSON, with or without a byte order mark. A number becomes an int if it is written as one, else a Number.

    Raises:
        NotJsonError: The bytes are not valid JSON, or nest too deeply.
    """
    try:
        return _decoder.decode(data.removeprefix(BYTE_ORDER_MARK))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotJsonError(str(error)) from None
    except RecursionError:
        raise NotJsonError("it nests too deeply") from None


def encode(value: object) -> bytes:
    """Writes JSON without white space."""
    return _encoder.encode(value)


def string(source: Object, key: str, path: str, findings: Findings) -> str:
    """Reads a string; empty if there is none."""
    value = source.get(key)
    if value.__class__ is str:
        return value
    if value is not None:
        findings.note(f"{path}{key}", "a string", value)
    return ""


def required(source: Object, key: str, path: str, findings: Findings) -> str:
    """Reads a string that the documentation promises; its absence is a defect, and so is one without a character."""
    value = source.get(key)
    if value.__class__ is str and value:
        return value
    if value == "":
        findings.tell(f"{path}{key}", "is empty")
    else:
        findings.note(f"{path}{key}", "a string", value)
    return ""


def either(source: Object, *keys: str) -> str:
    """Returns the first of several keys that has a value; the first of them if none has."""
    return next((key for key in keys if source.get(key) is not None), keys[0])


def boolean(source: Object, key: str, path: str, findings: Findings) -> bool:
    """Reads a boolean; false if there is none."""
    value = source.get(key)
    if value is None or value.__class__ is bool:
        return bool(value)
    findings.note(f"{path}{key}", "a boolean", value)
    return False


def strings(source: Object, key: str, path: str, findings: Findings) -> list[str]:
    """Reads a list of strings; empty if there is none."""
    found = []
    for index, item in enumerate(array(source, key, path, findings)):
        if item.__class__ is str:
            found.append(item)
        else:
            findings.note(f"{path}{key}[{index}]", "a string", item)
    return found


def array(source: Object, key: str, path: str, findings: Findings) -> list[Any]:
    """Reads an array; empty if there is none."""
    value = source.get(key)
    if value.__class__ is list:
        return value
    if value is not None:
        findings.note(f"{path}{key}", "an array", value)
    return []


def whole(body: object, findings: Findings) -> Object:
    """Returns a body that is to be an object; an empty one if it is something else, which makes the answer broken."""
    if isinstance(body, dict):
        return body
    findings.decisive.note("body", "an object", body)
    return {}


def child(
    source: Object, key: str, path: str, findings: Findings, read: Callable[[Object, str, Findings], Object | None]
) -> Object | None:
    """Reads an object with a reader of its own; None if there is none, or its reader says so."""
    value = source.get(key)
    if value.__class__ is dict:
        return read(value, f"{path}{key}.", findings)
    if value is not None:
        findings.note(f"{path}{key}", "an object", value)
    return None


def children(
    source: Object, key: str, path: str, findings: Findings, read: Callable[[Object, str, Findings], Object]
) -> list[Object]:
    """Reads an array of objects with a reader of its own; empty if there is none."""
    return objects(array(source, key, path, findings), f"{path}{key}", findings, read)


def objects(
    values: list[Any], path: str, findings: Findings, read: Callable[[Object, str, Findings], Object]
) -> list[Object]:
    """Reads the objects of an array at a path. What is none is left out."""
    found = []
    for index, value in enumerate(values):
        if value.__class__ is dict:
            found.append(read(value, f"{path}[{index}].", findings))
        else:
            findings.note(f"{path}[{index}]", "an object", value)
    return found


def things(
    values: list[Any], path: str, findings: Findings, read: Callable[[Object, str, Findings], Object]
) -> list[Object]:
    """Reads the objects of an array at a path, each of which becomes a message that names itself what it lacks.

    One that lacks what decides of it is left out, as is what is no object.
    """
    found = []
    for index, value in enumerate(values):
        if value.__class__ is not dict:
            findings.note(f"{path}[{index}]", "an object", value)
            continue
        mark = findings.mark()
        item = findings.item()
        fields = read(value, f"{path}[{index}].", item)
        if not item.is_broken:
            if unreadable := findings.claim(mark):
                fields["unreadable"] = unreadable
            found.append(fields)
    return found


def vocabulary(values: Mapping[str, int], prefix: str) -> Mapping[str, int]:
    """Returns upstream's spelling, in small letters, of each value of an enum: `{"allocated": 3, ...}`."""
    return {name.removeprefix(prefix).lower(): number for name, number in values.items() if number}

"""JSON as upstream writes it: numbers keep their text, and what is at odds with the documentation is collected.

The readers below never raise. They note a defect by its path and leave the field unset, so that one bad field does not
cost the rest of an answer that may be the only trace of an allocation. Null and absent are the same, unknown fields are
passed over. A path is the JSON path in upstream's own spelling, such as `_links[2].href`; a reader gets the part of it
that leads to its object, such as `_links[2].`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from allocation_gateway.codecs.values import Number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allocation_gateway.codecs.findings import Findings

Object: TypeAlias = "dict[str, Any]"

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class NotJsonError(Exception):
    """The bytes are not JSON. The text says why, without quoting them."""


MOST_VALUES: Final = 60_000
"""The most values that a document may have: objects, arrays, strings, numbers and the like, at every depth.

The largest answers that upstream is documented to give have a fifth of them. The whole process is held up while they
are parsed and while a message is made of them, which takes up to 0.4 and 2 microseconds each.
"""
MOST_SPECIAL_BYTES: Final = 2_000_000
"""The most bytes that a document may have which stand for an escape, or for a part of a character beyond ASCII.

A label of 16 MiB whose slashes are escaped has an eighth of them. They take the parser ten times as long as others.
"""
MOST_CHARACTERS: Final = 1_048_576
"""The longest text that is read, but for a label. It would be copied several times on its way to its caller."""
# A value takes two bytes at least, with what separates it from the next: what is shorter need not be counted.
_SURELY_FEW: Final = 2 * MOST_VALUES
_BEFORE_VALUES: Final = b",[{"
_SPECIAL: Final = b"\\" + bytes(range(128, 256))
# So much is counted at once.
_SLICE: Final = 262_144


class TooMuchError(Exception):
    """A document is made of too much to be parsed. The text says of what."""


def check_extent(data: bytes) -> None:
    """Sees to it that bytes can be parsed in a short time, whatever they are.

    It counts what separates values, in strings too: a bound for them, and quickly found. How deep values are nested is
    bounded by the parser, at about a thousand levels.

    Raises:
        TooMuchError: They could be more values than MOST_VALUES, or have more special bytes than MOST_SPECIAL_BYTES.
    """
    if len(data) <= _SURELY_FEW:
        return
    values = special = 0
    for start in range(0, len(data), _SLICE):
        part = data[start : start + _SLICE]
        values += len(part) - len(part.translate(None, _BEFORE_VALUES))
        special += len(part) - len(part.translate(None, _SPECIAL))
        if values > MOST_VALUES:
            raise TooMuchError(f"it has more than {MOST_VALUES} values")
        if special > MOST_SPECIAL_BYTES:
            raise TooMuchError(
                f"it has more than {MOST_SPECIAL_BYTES} bytes of escapes and of other letters than ASCII's"
            )


_decoder: Final = msgspec.json.Decoder(float_hook=Number)
_encoder: Final = msgspec.json.Encoder()


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
        if len(value) <= MOST_CHARACTERS:
            return value
        findings.tell(f"{path}{key}", f"is longer than {MOST_CHARACTERS} characters")
    elif value is not None:
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

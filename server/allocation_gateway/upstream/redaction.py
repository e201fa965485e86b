"""Takes the key of an API out of its answers: parts of answers reach callers, logs and the store of claims.

Upstream, or whoever stands in front of it, may quote a header that it does not like: as it is, with characters written
as JSON, URLs, HTML or quoted-printable text write them, or in base64, alone or with what stands around it. What quotes
it is looked for in the parsed texts, for nothing else of an answer leaves the gateway.
"""

from __future__ import annotations

import base64
import re
import string
from functools import cache
from html.entities import html5
from typing import TYPE_CHECKING, Any, Final

import msgspec

from allocation_gateway.codecs import json
from allocation_gateway.codecs.values import Number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from allocation_gateway.upstream.http import Answer

_REDACTED: Final = "********"
# A shorter key could be part of an innocent word.
_SHORTEST: Final = 8
# What every way to write a character otherwise begins with.
_BEGINNINGS: Final = "\\%&="
_RAW_BEGINNINGS: Final = tuple(character.encode() for character in _BEGINNINGS)
_LONGEST_SHORT: Final = 16_384
# How a text is written within a text within a text: with as many backslashes, or as often escaped.
_BACKSLASHES: Final = r"\\{1,15}"
_PERCENT: Final = "%(?:25){0,3}"
_AMPERSAND: Final = "&(?:amp;){0,3}"
_OF_BASE64: Final = string.ascii_letters + string.digits + "+/_-%="
_BASE64: Final = re.compile(f"[{re.escape(_OF_BASE64)}]*")
# So much base64 may stand before the key.
_LONGEST_BASE64: Final = 4_096
# A part of a text that is searched at once. It takes some milliseconds at worst, in which no other thread runs: one
# that gives way several times, as an event loop does, waits for a part each time.
_SLICE: Final = 32_768
_QUOTES: Final = "the body quotes the gateway's key"


class Redactor:
    """Knows how one key can be written."""

    __slots__ = ("_encoded", "_is_idle", "_needles", "_overlap", "_raw_sign", "_sign", "_texts", "_whole")

    def __init__(self, key: str) -> None:
        self._is_idle = len(key) < _SHORTEST
        fragments = _fragments(key)
        characters = sorted(set(key) | {mark for text in fragments for mark in text if not mark.isalnum()})
        # As it is, in text and in bytes.
        self._texts = (key, *fragments)
        # What another one is a part of is found with that.
        shortest = [text for text in self._texts if not any(other in text for other in {*self._texts} - {text})]
        self._needles = tuple(text.encode() for text in shortest)
        # A character of it that is written otherwise; and, in JSON, what that begins with, itself written otherwise.
        self._sign = re.compile(_sign(characters))
        self._raw_sign = re.compile(_sign(sorted({*characters, *_BEGINNINGS})).encode())
        self._whole = re.compile(_any_form(key, key))
        plain = string.ascii_letters + string.digits
        self._encoded = re.compile("|".join(_any_form(text, text.translate(_removal(plain))) for text in fragments))
        self._overlap = 64 * len(key)

    def redacted(self, answer: Answer) -> Answer:
        """Returns an answer without the key: the same one if it does not quote it."""
        body = answer.body
        if self._is_idle or not self._may_quote(body):
            return answer
        try:
            document = json.decode(body)
        except json.NotJsonError:
            # Nothing of it leaves, unless only a part of it is looked at.
            return answer._replace(body=b"", problem=_QUOTES) if self._quotes_unparsed(body) else answer
        if not self._is_quoted(_strings(document)):
            return answer
        return answer._replace(body=json.encode(self._without(document)))

    def _may_quote(self, body: bytes) -> bool:
        # Not by `in`, which asks of bytes first whether they are a number, and raises an error inside to find out.
        find = body.find
        for needle in self._needles:
            if find(needle) >= 0:
                return True
        for beginning in _RAW_BEGINNINGS:
            if find(beginning) >= 0:
                return self._has_sign(self._raw_sign, body, _RAW_BEGINNINGS)
        return False

    def _has_sign(self, sign: re.Pattern[Any], text: Any, beginnings: Iterable[Any]) -> bool:
        if len(text) > _LONGEST_SHORT:
            return _search(sign, text, self._overlap)
        # There are few of them, and to find each is faster than to let the pattern look at all that is between.
        for beginning in beginnings:
            at = text.find(beginning)
            while at >= 0:
                if sign.match(text, at):
                    return True
                at = text.find(beginning, at + 1)
        return False

    def _quotes_unparsed(self, body: bytes) -> bool:
        unescaped = _JSON_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]) if match[1] else match[2], body)
        return self._is_quoted([unescaped.decode(errors="replace")])

    def _is_quoted(self, texts: Iterable[str]) -> bool:
        whole = "\0".join(texts)
        if any(text in whole for text in self._texts):
            return True
        return self._has_sign(self._sign, whole, _BEGINNINGS) and any(
            _search(pattern, whole, self._overlap) for pattern in (self._whole, self._encoded)
        )

    def _without(self, document: Any) -> Any:
        """Returns a document, changed in place, without the key in its texts."""
        root = [document]
        containers: list[Any] = [root]
        while containers:
            container = containers.pop()
            for place, value in container.items() if isinstance(container, dict) else enumerate(container):
                if value.__class__ is str:
                    container[place] = self._clean(value)
                elif value.__class__ is Number:
                    # It has to come back as the number that it was.
                    container[place] = msgspec.Raw(value.encode())
                elif isinstance(value, dict | list):
                    containers.append(value)
        return root[0]

    def _clean(self, text: str) -> str:
        text = self._whole.sub(_REDACTED, text)
        kept, end = [], 0
        for match in self._encoded.finditer(text):
            if match.start() < end:
                continue
            # What stands beside the key in the same base64 would tell the characters at its ends.
            before = text[max(end, match.start() - _LONGEST_BASE64) : match.start()]
            start = match.start() - len(before) + len(before.rstrip(_OF_BASE64))
            kept += [text[end:start], _REDACTED]
            after = _BASE64.match(text, match.end())
            end = match.end() if after is None else after.end()
        return "".join([*kept, text[end:]])


_JSON_ESCAPE: Final = re.compile(rb"\\(?:u00([0-7][0-9a-fA-F])|([^u]))")


def _strings(document: Any) -> Iterator[str]:
    """Returns all texts of a document that are values."""
    pending = [document]
    while pending:
        value = pending.pop()
        if value.__class__ is str:
            yield value
        elif value.__class__ is dict:
            pending.extend(value.values())
        elif value.__class__ is list:
            pending.extend(value)


def _search(pattern: re.Pattern[Any], text: Any, overlap: int) -> bool:
    """Searches part by part: one search keeps every other thread from running."""
    if len(text) <= _SLICE:
        return pattern.search(text) is not None
    return any(pattern.search(text, start, start + _SLICE + overlap) for start in range(0, len(text), _SLICE))


def _fragments(key: str) -> list[str]:
    """Returns what is in base64 of whatever the key is a part of: for each place in three bytes, in both alphabets."""
    found = []
    for before in range(3):
        padded = base64.b64encode(bytes(before) + key.encode()).decode().rstrip("=")
        # The characters at the ends hold bits of what stands beside it.
        first = -(-before * 8 // 6)
        last = (before + len(key)) * 8 // 6
        fragment = padded[first:last]
        found += [fragment, fragment.translate(str.maketrans("+/", "-_"))]
    # Of a key of one character, nothing may be left.
    return [fragment for fragment in dict.fromkeys(found) if fragment]


def _hex(character: str) -> str:
    """Returns a pattern of a character's code in hexadecimal digits of either case."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(character):02x}")


@cache
def _names(character: str) -> Sequence[str]:
    """Returns how HTML calls a character, the longest name first."""
    return sorted({name.rstrip(";") for name, value in html5.items() if value == character}, key=len, reverse=True)


def _sign(characters: Iterable[str]) -> str:
    """Returns a pattern that finds every character written otherwise, and perhaps more: one that is found quickly."""
    codes = "|".join(map(_hex, characters))
    names = "|".join(["#", *(name for character in characters for name in _names(character))])
    marks = "|".join(re.escape(character) for character in characters if not character.isalnum())
    escaped = rf"|(?<=\\)(?:{marks})" if marks else ""
    return rf"[\\%&=](?:\\|amp;|25)*(?:(?:u00|x)?(?:{codes})|{names}{escaped})"


def _otherwise(character: str) -> list[str]:
    """Returns patterns of the ways to write a character that are not the character itself."""
    code = _hex(character)
    ways = [
        rf"{_BACKSLASHES}u00{code}",
        rf"{_BACKSLASHES}x{code}",
        rf"{_PERCENT}{code}",
        rf"={code}",
        rf"{_AMPERSAND}#0{{0,7}}{ord(character)};?",
        rf"{_AMPERSAND}#[xX]0{{0,7}}{code};?",
        *(rf"{_AMPERSAND}{name};?" for name in _names(character)),
    ]
    if not character.isalnum():
        ways.append(_BACKSLASHES + re.escape(character))
    return ways


def _any_form(text: str, characters: str) -> str:
    """Returns a pattern of a text of which some characters may be written otherwise."""
    # Looked at first, so that it is quickly seen that nothing begins here.
    first = rf"(?=[{re.escape(text[0])}\\%&=])"
    return first + "".join(
        f"(?:{'|'.join([*_otherwise(character), re.escape(character)])})" if character in characters else character
        for character in text
    )


def _removal(characters: str) -> dict[int, None]:
    """Returns the table with which str.translate() leaves characters out."""
    return dict.fromkeys(map(ord, characters))

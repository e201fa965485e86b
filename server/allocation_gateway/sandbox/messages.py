"""What passes between the HTTP handler and the APIs behind it: a call in, a reply out, JSON both ways."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.sandbox.journal import Arrival

JSON_TYPE = "application/json"

# Decimals travel as JSON numbers with their scale, as upstream's do: 2.00 stays 2.00, never "2.00" and never 2.0.
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


class NotJsonError(ValueError):
    """A body that should be JSON is not."""


def encode(document: object, *, mark: bool = False) -> bytes:
    """Write a document as JSON, with a byte order mark if asked to."""
    return BOM_UTF8 * mark + _ENCODER.encode(document)


def decode(body: bytes) -> Any:
    """Read JSON, its fractions as exact decimals.

    Raises:
        NotJsonError: the bytes are not JSON, not UTF-8, or nested beyond reading.
    """
    try:
        return _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, after routing: `parameters` are the decoded path segments by the template's names.

    `query` is the raw query string: most APIs have none, so it is left to those that do to read it.
    """

    method: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    arrival: Arrival
    query: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `body` None means an answer that has none, such as 304.

    `gzip_label` is what `Content-Encoding` says when the handler compresses the body because the client asked; None
    forbids compressing it.
    """

    status: int
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON_TYPE
    gzip_label: str | None = "gzip"


def json_reply(status: int, document: object) -> Reply:
    """A reply whose body is the document."""
    return Reply(status, encode(document))

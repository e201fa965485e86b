"""What a claim remembers beside its request: what a quote promised, how the shipment stood, and whose trace it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from google.type.money_pb2 import Money


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """What a quote promises.

    Attributes:
        service: The reference of the carrier service; empty if it is not known.
        currency: The currency of the price, as three letters of ISO 4217.
        units: The whole units of the price with taxes.
        nanos: The billionths of a unit beyond them.
    """

    service: str
    currency: str
    units: int
    nanos: int

    def agrees(self, price: Money) -> bool:
        """Tells whether a price is the promised one, or the quote had none."""
        promised = (self.currency, self.units, self.nanos)
        return not self.currency or promised == (price.currency_code, price.units, price.nanos)


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a claim remembers.

    Attributes:
        terms: What a quote promised; None if none is allocated, or it is not known.
        before: How each shipment or consignment stood before anything was sent; without those that were not read.
        trace: What names the span of the call that has made the claim, or has sent it last; empty if there is none.
    """

    terms: Terms | None = None
    before: dict[str, str] = {}
    trace: str = ""


NOTHING: Final = Note()
_encode: Final = msgspec.json.Encoder().encode
_decode_note: Final = msgspec.json.Decoder(Note).decode
_decode_terms: Final = msgspec.json.Decoder(Terms).decode


def encode(note: Note) -> bytes:
    """Returns a note as a claim keeps it; nothing for an empty one."""
    return b"" if note is NOTHING else _encode(note)


def decode(kept: bytes) -> Note:
    """Returns the note that a claim keeps. Releases before this one kept terms alone, as an array."""
    if not kept:
        return NOTHING
    return Note(_decode_terms(kept)) if kept.startswith(b"[") else _decode_note(kept)

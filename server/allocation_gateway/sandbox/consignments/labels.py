"""Labels: small, but real files of their kinds, made from a consignment's reference and the service booked."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("PDF", "PNG", "ZPL", "ZPLII")
DEFAULT_FORMAT = "PDF"

# Of a PNG, in pixels.
HEIGHT = 24


@dataclass(frozen=True, slots=True)
class Label:
    """A label file."""

    content: bytes
    content_type: str


def draw(kind: str, lines: Sequence[str]) -> Label:
    """A label with these lines, in one of the formats."""
    if kind == "PDF":
        return Label(_pdf(lines), "application/pdf")
    if kind == "PNG":
        return Label(_png(lines), "image/png")
    return Label(_zpl(lines), "application/zpl")


def _pdf(lines: Sequence[str]) -> bytes:
    """One page of 4 by 6 inches with the lines in Helvetica, and a cross-reference table that is right."""
    shown = " T* ".join(f"({_escaped(line)}) Tj" for line in lines)
    text = f"BT /F1 10 Tf 14 TL 18 400 Td {shown} ET".encode("ascii", "replace")
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 288 432]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    document = bytearray(b"%PDF-1.4\n")
    table = [b"0000000000 65535 f \n"]
    for number, content in enumerate(objects, start=1):
        table.append(b"%010d 00000 n \n" % len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(document)
    document += b"xref\n0 %d\n%s" % (len(table), b"".join(table))
    document += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(table), start)
    return bytes(document)


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _png(lines: Sequence[str]) -> bytes:
    """Bars, black on white, whose pattern is the bits of the first line."""
    bars = lines[0].encode()
    row = b"\0" + bars
    header = struct.pack(">IIBBBBB", 8 * len(bars), HEIGHT, 1, 0, 0, 0, 0)
    pieces = ((b"IHDR", header), (b"IDAT", zlib.compress(row * HEIGHT)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in pieces
    )


def _zpl(lines: Sequence[str]) -> bytes:
    """The lines one below the other; the printer's own command characters are left out of them."""
    fields = "".join(
        f"^FO30,{30 + 40 * index}^A0N,30,30^FD{line.replace('^', '').replace('~', '')}^FS\n"
        for index, line in enumerate(lines)
    )
    return f"^XA\n^CI28\n{fields}^XZ\n".encode()

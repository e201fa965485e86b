"""Writes what was measured into a document, between two marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def put_between_marks(document: Path, begin: str, end: str, text: str) -> None:
    """Writes a text in place of what stands between two marks."""
    before, _, rest = document.read_text().partition(begin)
    after = rest.partition(end)[2]
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")

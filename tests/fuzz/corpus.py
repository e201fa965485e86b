"""The inputs that are kept: of each target a file with one on each line, in base64."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDER: Final = Path(__file__).resolve().parent / "corpus"


def kept(target: str) -> list[bytes]:
    """Returns the inputs of a target."""
    path = _FOLDER / f"{target}.txt"
    return [b64decode(line, validate=True) for line in path.read_text().splitlines()] if path.exists() else []


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Replaces the inputs of a target."""
    lines = sorted({b64encode(data).decode() for data in inputs}, key=lambda line: (len(line), line))
    (_FOLDER / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines))


def unpack(target: str, folder: Path) -> None:
    """Lays the inputs of a target out as libFuzzer wants them, beside what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in kept(target):
        (folder / hashlib.sha256(data).hexdigest()).write_bytes(data)


def pack(folder: Path) -> list[bytes]:
    """Returns the inputs in a folder of libFuzzer."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]

"""The files that hold the keys of the APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.settings.types import ConfigurationError, Secret

if TYPE_CHECKING:
    from pathlib import Path

HEADER_PATTERN: Final = "^[ -~]*$"
"""What is_header() accepts, for a schema."""


def read_key(where: str, file: Path) -> Secret:
    """Reads a key.

    Args:
        where: The environment variable that names the file, for the errors.
        file: The file.

    Raises:
        ConfigurationError: It cannot be read, or holds no key.
    """
    try:
        return key_of(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{where}: cannot be read: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def key_of(content: bytes) -> Secret:
    """Returns the key that a file holds, without the line break at its end.

    Raises:
        ValueError: It holds none that can be sent. The text does not name the file.
    """
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    if not text:
        raise ValueError("the file is empty")
    if not is_header(text):
        raise ValueError("the file holds characters that cannot be sent in a header")
    return Secret(text)


def is_header(text: str) -> bool:
    """Tells whether a text can be sent as the value of a header."""
    return text.isascii() and text.isprintable()

"""Files that hold a password, which is replaced while the gateway runs."""

from __future__ import annotations

import errno
from pathlib import Path

from allocation_gateway.settings.known_secrets import KNOWN


def read_password(file: str) -> str:
    """Returns the password in a file, without the line break at its end.

    Raises:
        OSError: The file cannot be read, or holds no password.
    """
    password = Path(file).read_text(errors="surrogateescape").strip()
    if not password.isprintable() or not password:
        raise OSError(errno.EINVAL, f"{file} holds no password")
    KNOWN.add(password)
    return password

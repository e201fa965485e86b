"""Files that hold a password, which is replaced while the gateway runs."""

from __future__ import annotations

import errno
from pathlib import Path

from allocation_gateway.settings.known_secrets import KNOWN


class PasswordFileError(OSError):
    """A file of a password cannot be read, or holds none. Its text is for the log."""


def read_password(file: str) -> str:
    """Returns the password in a file, without the line break at its end.

    Raises:
        PasswordFileError: The file cannot be read, or holds no password.
    """
    problem = None
    try:
        password = Path(file).read_text(errors="surrogateescape").strip()
    except OSError as error:
        problem, password = error, ""
    if problem is not None:
        # Not from within the block: whoever looks for the origin is to find the password, and not any file.
        raise PasswordFileError(problem.errno, problem.strerror, file)
    if not password.isprintable() or not password:
        raise PasswordFileError(errno.EINVAL, f"{file} holds no password", file)
    KNOWN.add(password)
    return password

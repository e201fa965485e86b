"""Secrets that nobody may see: whatever the suite's gateways emit is searched for them, in every test.

Keys and passwords are named so that they are found. Tokens and private keys cannot be, and are found by how they begin.
"""

from __future__ import annotations

import re
from typing import Final

MARK: Final = "nobody-may-see"
"""What every key and password of a test has in it, if it is long enough to be one."""
# A token has three parts in base64, two of which are JSON. What an EC key in PKCS 8 begins with never changes.
_BEARER: Final = r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\."
_KEY: Final = "PRIVATE KEY-----|MIGHAgEAMBMGByqGSM49"
_SECRET: Final = re.compile(f"{MARK}|{_BEARER}|{_KEY}")


def has_secret(text: str) -> bool:
    """Tells whether a text has a secret in it."""
    return _SECRET.search(text) is not None


def search(where: str, text: str) -> None:
    """Fails if a text has a secret in it."""
    found = _SECRET.search(text)
    assert found is None, f"{where} has a secret: ...{text[max(found.start() - 100, 0) : found.end() + 20]}..."

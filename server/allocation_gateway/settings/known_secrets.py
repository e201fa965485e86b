"""The secrets that this process knows, so that a text which quotes one can be written without it.

The gateway makes no text of a secret. But a server that refuses one may quote it, and so may a library, in the text of
an error that ends up in a log line.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec

HIDDEN: Final = "********"
# A shorter one could be part of an innocent word.
_SHORTEST: Final = 8
# Those of all accounts, and of all that have been replaced: the oldest are forgotten.
_MOST: Final = 4096
# More than so many are not looked for one by one: it is looked first whether anything in the text begins as one does.
_FEW: Final = 32


class KnownSecrets:
    """Secrets, and how they may be written."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, ...]] = {}
        self._beginnings: set[str] = set()

    def add(self, secret: str) -> None:
        """Records a secret. One that is too short to be told from other text is passed over."""
        if len(secret) < _SHORTEST or secret in self._forms:
            return
        if len(self._forms) >= _MOST:
            del self._forms[next(iter(self._forms))]
        self._forms[secret] = forms = _forms(secret)
        self._beginnings.update(form[:_SHORTEST] for form in forms)

    def without(self, text: str) -> str:
        """Returns a text without the secrets: the same one if it quotes none."""
        if len(self._forms) > _FEW:
            beginnings, last = self._beginnings, len(text) - _SHORTEST
            if not any(text[at : at + _SHORTEST] in beginnings for at in range(last + 1)):
                return text
        for forms in list(self._forms.values()):
            for form in forms:
                if form in text:
                    text = text.replace(form, HIDDEN)
        return text

    def without_bytes(self, text: bytes) -> bytes:
        """Returns a text in UTF-8 without the secrets: the same one if it quotes none."""
        found = text.decode()
        cleaned = self.without(found)
        return text if cleaned is found else cleaned.encode()


def _forms(secret: str) -> tuple[str, ...]:
    """Returns how a secret is written, the longest first: as it is, in JSON, by Python, by Python in JSON, in a URL."""
    shown = repr(secret)[1:-1]
    found = {secret, _in_json(secret), shown, _in_json(shown), quote(secret, safe="")}
    return tuple(sorted(found, key=len, reverse=True))


def _in_json(text: str) -> str:
    # What cannot be encoded is not in a line of JSON either.
    return msgspec.json.encode(text.encode(errors="replace").decode()).decode()[1:-1]


KNOWN: Final = KnownSecrets()
"""Those of this process."""

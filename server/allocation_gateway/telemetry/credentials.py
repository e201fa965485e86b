"""The secrets in variables that libraries read: headers for collectors, and passwords of collectors and proxies."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import unquote

from allocation_gateway.settings import KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping


def note(environ: Mapping[str, str]) -> None:
    """Records them, so that no log line has them."""
    for name, text in environ.items():
        if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("HEADERS"):
            for header in text.split(","):
                _note_words(header.partition("=")[2].strip())
        elif name.startswith("OTEL_EXPORTER_OTLP_") or name.lower().endswith("_proxy"):
            _note_password(text)


def _note_words(value: str) -> None:
    """Records a header, and what follows its scheme: `Bearer` or `Basic` alone would be none of a secret."""
    for whole in (value, unquote(value)):
        KNOWN.add(whole)
        KNOWN.add(whole.rpartition(" ")[2])


def _note_password(url: str) -> None:
    """Records the password of a URL, also as it is sent."""
    login, at, _ = url.partition("://")[2].rpartition("@")
    if at:
        password = login.partition(":")[2] or login
        KNOWN.add(password)
        KNOWN.add(unquote(password))
        KNOWN.add(base64.b64encode(unquote(login).encode()).decode())

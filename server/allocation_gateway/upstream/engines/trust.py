"""Which certificates of an upstream are trusted, by every engine alike."""

from __future__ import annotations

import os
import ssl

import certifi


def client_context() -> ssl.SSLContext:
    """Returns TLS that verifies upstream's certificate and name.

    The authorities are those in SSL_CERT_FILE, else in SSL_CERT_DIR, else the ones that Mozilla trusts.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        context = ssl.create_default_context(cafile=file)
    elif folder := os.environ.get("SSL_CERT_DIR"):
        context = ssl.create_default_context(capath=folder)
    else:
        context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context

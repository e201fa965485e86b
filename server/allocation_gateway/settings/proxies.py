"""Whether the environment puts a proxy between the gateway and an upstream."""

from __future__ import annotations

from urllib.parse import urlsplit

from allocation_gateway.settings.urls import LOOPBACK


def is_proxied(base_url: str) -> bool:
    """Tells whether HTTPS_PROXY, HTTP_PROXY or ALL_PROXY applies to a URL, and NO_PROXY does not exempt it."""
    parts = urlsplit(base_url)
    if parts.hostname in LOOPBACK:
        return False
    # On demand: a probe of health, or a supervisor, needs no HTTP client of Python's.
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    return bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(parts.netloc)

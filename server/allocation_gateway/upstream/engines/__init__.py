"""The engines that carry out HTTP exchanges, and the choice between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.settings.proxies import is_proxied

if TYPE_CHECKING:
    from allocation_gateway.upstream.http import HttpEngine, Target

AUTO: Final = "auto"
DIRECT: Final = "direct"
HTTPX: Final = "httpx"


def engine_for(name: str, base_url: str) -> str:
    """Returns which engine is used: by default the direct one, and httpx where the environment prescribes a proxy."""
    if name != AUTO:
        return name
    return HTTPX if is_proxied(base_url) else DIRECT


def open_engine(name: str, target: Target) -> HttpEngine:
    """Returns an engine with connections to one upstream. Must be called where an event loop runs."""
    # On demand: the engine that is not used costs neither memory nor start-up time.
    if engine_for(name, target.base_url) == HTTPX:
        from allocation_gateway.upstream.engines.httpx import HttpxEngine

        return HttpxEngine(target)
    from allocation_gateway.upstream.engines.direct import DirectHttpEngine

    return DirectHttpEngine(target)

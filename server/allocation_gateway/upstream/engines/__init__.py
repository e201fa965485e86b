"""The engines that carry out HTTP exchanges, and the choice between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.settings import ConfigurationError, variable
from allocation_gateway.upstream.engines.proxies import is_proxied

if TYPE_CHECKING:
    from allocation_gateway.upstream.http import Engine, Target

AUTO: Final = "auto"
DIRECT: Final = "direct"
HTTPX: Final = "httpx"


def engine_for(name: str, base_url: str) -> str:
    """Returns which engine is used: by default the direct one, and httpx where the environment prescribes a proxy.

    Raises:
        ConfigurationError: The direct engine was asked for by name, which knows no proxies, and one is prescribed.
    """
    if name == HTTPX:
        return HTTPX
    if not is_proxied(base_url):
        return DIRECT
    if name == DIRECT:
        raise ConfigurationError(
            f"{variable('http_engine')}: {DIRECT} knows no proxies, but the environment prescribes one for {base_url}"
        )
    return HTTPX


def open_engine(name: str, target: Target) -> Engine:
    """Returns an engine with connections to one upstream. Must be called where an event loop runs.

    Raises:
        ConfigurationError: See engine_for.
    """
    # On demand: the engine that is not used costs neither memory nor start-up time.
    if engine_for(name, target.base_url) == HTTPX:
        from allocation_gateway.upstream.engines.httpx import HttpxEngine

        return HttpxEngine(target)
    from allocation_gateway.upstream.engines.direct import DirectEngine

    return DirectEngine(target)

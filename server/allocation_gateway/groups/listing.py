"""Upstream's own listing of service groups, where the account may read it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from allocation_gateway.errors import GatewayError
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.operations import consignments
from allocation_gateway.operations.model import Api
from allocation_gateway.telemetry.conventions import AttemptKind
from allocation_gateway.upstream.call import UpstreamCall
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.telemetry.conventions import Attributes
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.upstream.client import Upstream

# Ship has none.
_LISTINGS: Final[Mapping[Api, Operation]] = {Api.CONSIGNMENTS: consignments.GROUPS}
# Seconds for loading a listing. A call that waits for it has a bound of its own.
_LOAD_TIMEOUT: Final = 10.0
_NOT_OFFERED: Final = frozenset({401, 403, 404})
_log = structlog.get_logger()


class NotOfferedError(Exception):
    """The account may not read the listing, or there is none."""


class Listings:
    """Loads the listings of APIs. One that is refused is not loaded again until reset() is called."""

    def __init__(
        self,
        upstreams: Mapping[Api, Upstream],
        telemetry: Telemetry,
        *,
        fields: Attributes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Has loaded nothing yet.

        Args:
            upstreams: The APIs of the account that are configured.
            telemetry: Where metrics go.
            fields: What log lines say besides: which account it is.
            clock: Tells the time in seconds of the epoch.
        """
        self._upstreams = {api: upstreams[api] for api in _LISTINGS if api in upstreams}
        self._telemetry = telemetry
        self._fields = fields or {}
        self._clock = clock
        self._refused: set[Api] = set()

    def offers(self, api: Api) -> bool:
        """Returns whether an API has a listing that may be read, as far as is known."""
        return api in self._upstreams and api not in self._refused

    def reset(self, api: Api) -> None:
        """Allows a listing to be loaded again that was refused."""
        self._refused.discard(api)

    async def load(self, api: Api) -> tuple[Group, ...]:
        """Loads the listing of an API.

        Raises:
            NotOfferedError: It has none that the account may read.
            GatewayError: It could not be read.
        """
        if not self.offers(api):
            raise NotOfferedError
        operation = _LISTINGS[api]
        deadline = asyncio.get_running_loop().time() + _LOAD_TIMEOUT
        call = UpstreamCall(Attempt(), self._telemetry.background(), deadline, True, AttemptKind.LISTING)
        result = await self._upstreams[api].call(operation, operation.default_route, operation.request(), call)
        response: Any = result.response
        if isinstance(response, GatewayError):
            self._load_failed(api, response)
            if api in self._refused:
                raise NotOfferedError from response
            raise response
        self._telemetry.metrics.group_event("listing_read")
        now = self._clock()
        return tuple(
            Group(api=api, code=item.code, source=Source.LISTING, learned_at=now, display_name=item.display_name)
            for item in response.service_groups
        )

    def _load_failed(self, api: Api, error: GatewayError) -> None:
        status = error.upstream_status
        if status in _NOT_OFFERED:
            self._refused.add(api)
            self._telemetry.metrics.group_event("listing_off")
            _log.warning("service_group_listing_off", api=api.value, upstream_status=str(status), **self._fields)
            return
        self._telemetry.metrics.group_event("listing_failed")
        told = {"reason": error.reason_name, "message": error.message, **self._fields}
        _log.warning("service_group_listing_failed", api=api.value, **told)

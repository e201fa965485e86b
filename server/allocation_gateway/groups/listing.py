"""Upstream's own list of service groups, where the account may read it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from allocation_gateway.errors import GatewayError
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.operations import consignments
from allocation_gateway.operations.model import Api
from allocation_gateway.upstream.call import UpstreamCall
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.upstream.client import Upstream

# Ship has no list.
LISTINGS: Final[Mapping[Api, Operation]] = {Api.CONSIGNMENTS: consignments.GROUPS}
# Seconds that upstream has for a list. A call that waits for it has a bound of its own.
PATIENCE: Final = 10.0
_NOT_OFFERED: Final = frozenset({"401", "403", "404"})
_log = structlog.get_logger()


class NotOfferedError(Exception):
    """The account may not read the list, or there is none."""


class Listings:
    """The APIs whose list may be read. One that refuses is not asked again until it is told to."""

    def __init__(
        self,
        upstreams: Mapping[Api, Upstream],
        telemetry: Telemetry,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._upstreams = {api: upstreams[api] for api in LISTINGS if api in upstreams}
        self._telemetry = telemetry
        self._clock = clock
        self._off: set[Api] = set()

    def offers(self, api: Api) -> bool:
        """Tells whether an API has a list that may be read, as far as is known."""
        return api in self._upstreams and api not in self._off

    def try_again(self, api: Api) -> None:
        """Lets an API be asked again that has refused."""
        self._off.discard(api)

    async def load(self, api: Api) -> tuple[Group, ...]:
        """Reads the list of an API.

        Raises:
            NotOfferedError: It has none for us.
            GatewayError: It could not be read.
        """
        if not self.offers(api):
            raise NotOfferedError
        operation = LISTINGS[api]
        deadline = asyncio.get_running_loop().time() + PATIENCE
        call = UpstreamCall(Attempt(), self._telemetry.background(), deadline, keeps_to_deadline=True)
        result = await self._upstreams[api].call(operation, operation.default_route, operation.request(), call)
        response: Any = result.response
        if isinstance(response, GatewayError):
            self._failed(api, response)
            if api in self._off:
                raise NotOfferedError from response
            raise response
        self._telemetry.group_event("listing_read")
        now = self._clock()
        return tuple(
            Group(api=api, code=item.code, source=Source.LISTING, learned_at=now, display_name=item.display_name)
            for item in response.service_groups
        )

    def _failed(self, api: Api, error: GatewayError) -> None:
        status = error.metadata.get("upstream_status", "")
        if status in _NOT_OFFERED:
            self._off.add(api)
            self._telemetry.group_event("listing_off")
            _log.warning("service_group_listing_off", api=api.value, upstream_status=status)
            return
        self._telemetry.group_event("listing_failed")
        _log.warning("service_group_listing_failed", api=api.value, reason=error.reason_name, message=error.message)

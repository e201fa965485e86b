"""The writes of the items of one bulk call, from when they are begun until each has ended, or its time is up.

None of them has a task that waits for it. They are sent together and most often end together: a task, a future and a
timer for each of a hundred would be a good part of all the work.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from allocation_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.rpc.streams.job import Item
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.coordinator import Coordinator, WriteCaller
    from allocation_gateway.writes.request import WriteRequest, WriteResult

    # Is told what came of the write of an item. Returns the names of the status and of the reason that it ended with.
    Conclude: TypeAlias = Callable[[Item, WriteResult | GatewayError], tuple[str, str]]


class ItemWrites:
    """The writes that somebody waits for together."""

    def __init__(
        self,
        writes: Coordinator,
        api: AccountApi,
        observation: Observation,
        fields: Mapping[str, Any],
        conclude: Conclude,
    ) -> None:
        """Has begun none yet.

        Args:
            writes: Carries them out.
            api: Where they are sent.
            observation: The call, as telemetry sees it.
            fields: What log lines say of it.
            conclude: Is told what came of each, as soon as that is known.
        """
        self._writes = writes
        self._api = api
        self._observation = observation
        self._fields = fields
        self._conclude = conclude
        self._loop = asyncio.get_running_loop()
        # Those that have not ended.
        self._open: dict[Item, tuple[WriteCaller, Observation]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._defect: BaseException | None = None

    def begin(self, item: Item, request: WriteRequest, until: float) -> None:
        """Begins the write of an item, or joins the one with its id.

        Args:
            item: The item.
            request: Its write.
            until: Until when to wait for it, by the event loop's clock.
        """
        observation = self._observation.item(item.reference)
        fields = {**self._fields, "request_id": item.request_id}
        try:
            caller = self._writes.begin(request, self._api, observation, until, fields)
        except GatewayError as error:
            self._tell(item, observation, error)
            return
        self._open[item] = caller, observation
        caller.on_end(partial(self._ended, item))

    def keep_time(self) -> None:
        """Tells of each, from now on, whose time is up. It is called when all have been begun."""
        if self._open:
            moment = min(caller.until for caller, _ in self._open.values())
            self._timer = self._loop.call_at(moment, self._time_up, moment)

    def _time_up(self, moment: float) -> None:
        for item in [item for item, (caller, _) in self._open.items() if caller.until <= moment]:
            self._ended(item)
        self.keep_time()

    def _ended(self, item: Item, _: object = None) -> None:
        found = self._open.pop(item, None)
        if found is None:
            # Its time was up before.
            return
        caller, observation = found
        try:
            caller.leave()
            self._tell(item, observation, caller.outcome())
        except Exception as error:  # noqa: BLE001 - it is for whoever waits
            self._defect = error
        if not self._open or self._defect is not None:
            self._news.set()

    def _tell(self, item: Item, observation: Observation, outcome: WriteResult | GatewayError) -> None:
        status = "CANCELLED", ""
        try:
            status = self._conclude(item, outcome)
        finally:
            observation.end_part(*status)

    async def wait(self) -> None:
        """Waits until all have ended, or their time is up.

        Raises:
            Exception: What one of them, or what was told of it, has failed with: a defect.
        """
        while self._open and self._defect is None:
            self._news.clear()
            await self._news.wait()
        if self._defect is not None:
            raise self._defect

    def leave(self) -> None:
        """Waits for none of them any more."""
        if self._timer is not None:
            self._timer.cancel()
        while self._open:
            _, (caller, observation) = self._open.popitem()
            caller.leave()
            observation.end_part("CANCELLED", "")

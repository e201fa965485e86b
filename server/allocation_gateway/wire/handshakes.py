"""The order in which handshakes of TLS are computed.

What a server computes for a step of one takes up to a millisecond, and there is no less of it. So few have a step in a
turn of the event loop, however many clients have greeted, and others wait for no more than these. Some do in each turn,
whatever work there is, so that who connects does not wait behind those who have. Addresses take turns: who greets often
holds up itself.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

# Handshakes with a step in a turn of the loop. Two take as long as what a turn of much other work takes.
_AT_ONCE: Final = 2


class HandshakeQueue:
    """The clients that wait for a step of their handshake, as those who have greeted do: a queue for each address."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # In the order of their turns. Those that wait come by their order too, and can leave from anywhere.
        self._waiting: OrderedDict[str, OrderedDict[asyncio.Future[None], None]] = OrderedDict()
        self._is_scheduled = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def turn(self, address: str) -> None:
        """Waits until a step of the handshake of a client may be computed.

        Args:
            address: What counts as its address.
        """
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(address, OrderedDict())[turn] = None
        self._schedule()
        try:
            await turn
        except BaseException:
            self._leave(address, turn)
            raise

    def _leave(self, address: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(address)
        if queue is not None:
            queue.pop(turn, None)
            if not queue:
                del self._waiting[address]

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        begun = 0
        while self._waiting and begun < _AT_ONCE:
            address, queue = self._waiting.popitem(last=False)
            turn, _ = queue.popitem(last=False)
            if queue:
                self._waiting[address] = queue
            if not turn.done():  # one that has just been cancelled costs nobody a turn
                turn.set_result(None)
                begun += 1
        if self._waiting:
            self._schedule()

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


class _Address:
    """The clients of one address that wait, in the order of their turns. Any of them can leave.

    A handshake that has begun goes on before another one begins: until it ends, OpenSSL keeps tens of kilobytes for it.
    """

    __slots__ = ("_begun", "_new")

    def __init__(self) -> None:
        self._begun: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._new: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._begun) + len(self._new)

    def add(self, turn: asyncio.Future[None], *, has_begun: bool) -> None:
        (self._begun if has_begun else self._new)[turn] = None

    def remove(self, turn: asyncio.Future[None]) -> None:
        self._begun.pop(turn, None)
        self._new.pop(turn, None)

    def pop(self) -> asyncio.Future[None]:
        return (self._begun or self._new).popitem(last=False)[0]


class HandshakeQueue:
    """The clients that wait for a step of their handshake, as those who have greeted do: a queue for each address."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # In the order of their turns.
        self._waiting: OrderedDict[str, _Address] = OrderedDict()
        self._is_scheduled = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def turn(self, address: str, *, has_begun: bool) -> None:
        """Waits until a step of the handshake of a client may be computed.

        Args:
            address: What counts as its address.
            has_begun: Whether a step of it was computed before.
        """
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(address, _Address()).add(turn, has_begun=has_begun)
        self._schedule()
        try:
            await turn
        except BaseException:
            self._leave(address, turn)
            raise

    def _leave(self, address: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(address)
        if queue is not None:
            queue.remove(turn)
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
            turn = queue.pop()
            if queue:
                self._waiting[address] = queue
            if not turn.done():  # one that has just been cancelled costs nobody a turn
                turn.set_result(None)
                begun += 1
        if self._waiting:
            self._schedule()

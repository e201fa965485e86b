"""A time limit that does not hold against a server what only this process was too busy to do."""

from __future__ import annotations

import asyncio
from typing import Final

from allocation_gateway.tasks import TimeLimit

# Into so many parts the time is divided. Each ends in a turn of the event loop of its own.
_PARTS: Final = 50


class PatientLimit(TimeLimit):
    """Raises TimeoutError when seconds have passed in which the event loop could have gone on.

    A connection takes several turns of the loop to be made. Of a turn that takes long, only a part counts, so that
    there are turns enough however long they are.
    """

    def __init__(self, seconds: float) -> None:
        """Makes a limit.

        Args:
            seconds: How long the block may take in a process that is not busy.
        """
        super().__init__(0.0)
        self._part = seconds / _PARTS
        self._left = _PARTS

    def __enter__(self) -> None:
        self._until = asyncio.get_running_loop().time() + self._part
        super().__enter__()

    def _time_up(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = asyncio.get_running_loop().call_later(self._part, self._time_up)
        else:
            super()._time_up()

"""A budget for what is sent on top of what was asked for, so that failures do not multiply the load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Counted in whole millionths, so that the bound is exact however many small deposits there are.
_TOKEN: Final = 1_000_000


class Budget:
    """What may be spent: a part of a token for each thing asked for, and maybe some with time, up to a burst.

    Over any span of time the withdrawals are at most the burst, plus ratio times what was asked for, plus what came
    with time. What is not needed beyond the burst is not saved up.
    """

    __slots__ = ("_at", "_balance", "_burst", "_clock", "_on_withdrawal", "_per_second", "_ratio")

    def __init__(
        self,
        ratio: float,
        burst: int,
        *,
        clock: Callable[[], float],
        on_withdrawal: Callable[[bool], None],
        per_second: float = 0.0,
    ) -> None:
        """Makes a full budget.

        Args:
            ratio: The tokens that each thing asked for brings.
            burst: The tokens that there are at the start, and at most.
            clock: Seconds that never go back.
            on_withdrawal: Is told of each withdrawal whether it was granted.
            per_second: The tokens that each second brings.
        """
        self._ratio = int(ratio * _TOKEN)
        self._burst = burst * _TOKEN
        self._per_second = per_second * _TOKEN
        self._clock = clock
        self._on_withdrawal = on_withdrawal
        self._balance = self._burst
        self._at = clock()

    def deposit(self) -> None:
        """Records something that was asked for."""
        if self._balance < self._burst:
            self._balance = min(self._balance + self._ratio, self._burst)

    def refund(self) -> None:
        """Records that upstream has answered: what it can answer needs no saving. In an outage nothing comes in."""
        self._balance = min(self._balance + _TOKEN, self._burst)

    def withdraw(self) -> bool:
        """Takes a token if there is one; tells whether there was."""
        if self._per_second:
            now = self._clock()
            self._balance = min(self._balance + int((now - self._at) * self._per_second), self._burst)
            self._at = now
        granted = self._balance >= _TOKEN
        if granted:
            self._balance -= _TOKEN
        self._on_withdrawal(granted)
        return granted

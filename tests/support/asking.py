"""Asking an engine, within a bound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allocation_gateway.upstream.http import Answer, HttpEngine

PATIENCE: Final = 20.0


async def ask(
    engine: HttpEngine,
    method: str = "PUT",
    path: str = "/shipments/s%201",
    *,
    body: bytes | None = b"{}",
    headers: Sequence[tuple[bytes, bytes]] = (),
    attempt: Attempt | None = None,
) -> Answer:
    """Carries out an exchange. Takes no longer than a few seconds."""
    async with asyncio.timeout(PATIENCE):
        return await engine.exchange(
            method, path, body=body, headers=headers, attempt=Attempt() if attempt is None else attempt
        )


def asking(engine: HttpEngine, method: str = "PUT", *, attempt: Attempt | None = None) -> asyncio.Task[Answer]:
    """Begins an exchange."""
    task = asyncio.create_task(ask(engine, method, body=None if method == "GET" else b"{}", attempt=attempt))
    task.add_done_callback(_seen)
    return task


def _seen(task: asyncio.Task[Answer]) -> None:
    """Takes note of how an exchange ended that nobody waits for."""
    if not task.cancelled():
        task.exception()

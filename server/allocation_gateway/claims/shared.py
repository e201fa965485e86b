"""The claims of all processes that use one Valkey or Redis server. The steps themselves are in steps.lua."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.claims.model import Begun, Busy, Claim, Held
from allocation_gateway.claims.records import form_of, micro, pack, parts, shown
from allocation_gateway.claims.scripted import ScriptedClaims

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.claims.model import NewClaim
    from allocation_gateway.claims.server import ClaimServer

_OUTCOMES: Final[Mapping[bytes, type[Begun | Held | Busy]]] = {b"begun": Begun, b"held": Held, b"busy": Busy}


class SharedClaims(ScriptedClaims):
    """A store on a server. See ClaimStore for its steps."""

    def __init__(self, server: ClaimServer, *, namespace: str, name: str, retention: float) -> None:
        """Does not connect yet.

        Args:
            server: The server.
            namespace: What the names of all keys begin with.
            name: Sets the store apart from others in the namespace.
            retention: Seconds for which claims that are done or settled, and the last allocations, are kept.
        """
        self._server = server
        # The part in braces decides where a cluster keeps a key: all of a store's are together.
        self._prefix = f"{namespace}:{{{name}}}:"
        self._claim = f"{self._prefix}claim:"
        self._retention = retention

    def at(self, references: Sequence[str]) -> SharedClaims:
        """Returns itself: all claims are in one place."""
        del references
        return self

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """Makes a claim and takes all its locks, or none."""
        outcome, fields = await self._run("begin", new.request_id, new.holder, *parts(new))
        return _OUTCOMES[outcome](shown(fields))

    async def finish(
        self,
        request_id: str,
        holder: str,
        answer: bytes,
        *,
        fallback: NewClaim,
        allocated: Sequence[str],
        deallocated: Sequence[str],
        keep_locks: float = 0.0,
    ) -> None:
        """Records that a write has taken effect, whoever holds its claim by now, and also if it is settled or gone."""
        form, kept = form_of(answer)
        await self._run(
            "finish",
            request_id,
            holder,
            *parts(fallback),
            fallback.holder,
            form,
            kept,
            micro(self._retention),
            micro(min(keep_locks, self._retention)),
            pack(tuple(allocated)),
            pack(tuple(deallocated)),
        )

    async def release(self, request_id: str, holder: str) -> None:
        """Takes back what `begin` did."""
        await self._run("release", request_id, holder, micro(self._retention))

    async def settle(self, request_id: str, holder: str) -> bool:
        """Settles a claim in doubt that is the caller's and whose effects are over, and frees its locks."""
        return bool(await self._run("settle", request_id, holder, micro(self._retention)))

    async def read(self, request_id: str) -> Claim | None:
        """Returns a claim; None if there is none."""
        fields = await self._run("read", request_id)
        return None if fields is None else shown(fields)

    async def close(self) -> None:
        """Ends the use of the server, for all stores on it."""
        await self._server.close()

    async def _run(self, step: str, request_id: str, *arguments: str | bytes | int) -> Any:
        return await self._server.run(step, self._claim + request_id, self._prefix, request_id, *arguments)

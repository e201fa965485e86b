"""The steps of a claim that a server carries out in one place, whether or not it is one of a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from allocation_gateway.claims.records import body as packed_body
from allocation_gateway.claims.records import micro, shown

if TYPE_CHECKING:
    from allocation_gateway.claims.model import Claim, NewClaim


class ScriptedClaims(ABC):
    """What the stores on servers have in common. See ClaimStore for the steps."""

    __slots__ = ()

    async def take_over(self, request_id: str, holder: str, lease: float) -> Claim | None:
        """Makes a claim the caller's if it is in doubt and its lease has run out, or it is the caller's already."""
        fields = await self._run("take_over", request_id, holder, micro(lease))
        return None if fields is None else shown(fields)

    async def renew(
        self,
        request_id: str,
        holder: str,
        lease: float,
        *,
        effects: float | None = None,
        attempt: bool = False,
        body: NewClaim | None = None,
    ) -> bool:
        """Extends the lease of a claim that is in doubt and the caller's."""
        until = "" if effects is None else micro(effects)
        kept = b"" if body is None else packed_body(body)
        return bool(await self._run("renew", request_id, holder, micro(lease), until, int(attempt), kept))

    async def leave_in_doubt(self, request_id: str, holder: str, *, effects: float) -> None:
        """Ends the caller's lease of a claim that is in doubt."""
        await self._run("leave_in_doubt", request_id, holder, micro(effects))

    @abstractmethod
    async def _run(self, step: str, request_id: str, *arguments: str | bytes | int) -> Any:
        """Carries out a step where the claim is, and returns what the script does."""

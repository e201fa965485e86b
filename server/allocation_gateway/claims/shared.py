"""The claims of all processes that use one Valkey or Redis server. The steps themselves are in steps.lua."""

from __future__ import annotations

import math
import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from allocation_gateway.claims.model import Begun, Busy, Claim, ClaimState, Held, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.claims.model import NewClaim
    from allocation_gateway.claims.server import ClaimServer

_STATES: Final = (ClaimState.IN_DOUBT, ClaimState.DONE, ClaimState.SETTLED)
_OUTCOMES: Final[Mapping[bytes, type[Begun | Held | Busy]]] = {b"begun": Begun, b"held": Held, b"busy": Busy}
_NO_OWNERS: Final[Mapping[str, str]] = MappingProxyType({})
_MICRO: Final = 1_000_000
# Bytes of an answer from which on it is compressed: a documented one of 1.3 kB becomes 0.5 kB, in 11 microseconds.
_COMPRESSED_FROM: Final = 1024
_pack: Final = msgspec.msgpack.Encoder().encode


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What changes in a claim, or decides what becomes of it. The script reads and writes it too.

    Places keep their meaning for ever. A later release may add some at the end, which this one passes over.
    """

    version: int
    state: int
    holder: str
    attempts: int
    begun_at: int
    lease_until: int
    effects_end_at: int
    fingerprint: str
    references: tuple[str, ...]
    owners: tuple[str, ...]


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """What the script keeps without looking into it. Its places are kept like those of the head."""

    operation: str
    request: bytes
    note: bytes


_read_head: Final = msgspec.msgpack.Decoder(_Head).decode
_read_body: Final = msgspec.msgpack.Decoder(_Body).decode


class SharedClaims:
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

    async def begin(self, new: NewClaim) -> Begun | Held | Busy:
        """Makes a claim and takes all its locks, or none."""
        outcome, fields = await self._run("begin", new.request_id, new.holder, *_parts(new))
        return _OUTCOMES[outcome](_shown(fields))

    async def take_over(self, request_id: str, holder: str, lease: float) -> Claim | None:
        """Makes a claim the caller's if it is in doubt and its lease has run out, or it is the caller's already."""
        fields = await self._run("take_over", request_id, holder, _micro(lease))
        return None if fields is None else _shown(fields)

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
        until = "" if effects is None else _micro(effects)
        kept = b"" if body is None else _body(body)
        return bool(await self._run("renew", request_id, holder, _micro(lease), until, int(attempt), kept))

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
        form = "a"
        if len(answer) >= _COMPRESSED_FROM:
            form, answer = "z", zlib.compress(answer, 1)
        await self._run(
            "finish",
            request_id,
            holder,
            *_parts(fallback),
            fallback.holder,
            form,
            answer,
            _micro(self._retention),
            _micro(min(keep_locks, self._retention)),
            _pack(tuple(allocated)),
            _pack(tuple(deallocated)),
        )

    async def release(self, request_id: str, holder: str) -> None:
        """Takes back what `begin` did."""
        await self._run("release", request_id, holder, _micro(self._retention))

    async def settle(self, request_id: str, holder: str) -> bool:
        """Settles a claim in doubt that is the caller's and whose effects are over, and frees its locks."""
        return bool(await self._run("settle", request_id, holder, _micro(self._retention)))

    async def leave_in_doubt(self, request_id: str, holder: str, *, effects: float) -> None:
        """Ends the caller's lease of a claim that is in doubt."""
        await self._run("leave_in_doubt", request_id, holder, _micro(effects))

    async def read(self, request_id: str) -> Claim | None:
        """Returns a claim; None if there is none."""
        fields = await self._run("read", request_id)
        return None if fields is None else _shown(fields)

    async def close(self) -> None:
        """Ends the use of the server, for all stores on it."""
        await self._server.close()

    async def _run(self, step: str, request_id: str, *arguments: str | bytes | int) -> Any:
        return await self._server.run(step, self._claim + request_id, self._prefix, request_id, *arguments)


def _parts(new: NewClaim) -> tuple[str, bytes, int, int, bytes]:
    references = tuple(dict.fromkeys(new.references))
    return new.fingerprint, _pack(references), _micro(new.lease), _micro(new.effects), _body(new)


def _body(new: NewClaim) -> bytes:
    return _pack(_Body(new.operation, new.request, new.note))


def _micro(seconds: float) -> int:
    return math.ceil(seconds * _MICRO)


def _shown(fields: tuple[bytes, bytes, bytes, bytes | None, bytes | None, int]) -> Claim:
    request_id, packed, kept, answer, compressed, now = fields
    try:
        head, body = _read_head(packed), _read_body(kept)
        state = _STATES[head.state]
        if compressed is not None:
            answer = zlib.decompress(compressed)
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, zlib.error):
        raise StoreUnavailableError("the server holds something that is no claim") from None
    return Claim(
        request_id.decode(),
        body.operation,
        head.fingerprint,
        body.request,
        body.note,
        head.references,
        state,
        head.holder,
        head.attempts,
        (now - head.begun_at) / _MICRO,
        (head.lease_until - now) / _MICRO,
        (head.effects_end_at - now) / _MICRO,
        answer or b"",
        dict(zip(head.owners[::2], head.owners[1::2], strict=True)) if head.owners else _NO_OWNERS,
    )

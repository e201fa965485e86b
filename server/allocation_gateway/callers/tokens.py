"""Who calls, by a JSON Web Token (RFC 7519) that it bears."""

from __future__ import annotations

import hashlib
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning

from allocation_gateway.callers.errors import IdentityError
from allocation_gateway.callers.model import JWT, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.callers.key_sources import KeySource
    from allocation_gateway.callers.keys import KeyRing, PinnedKey

# Seconds by which the clocks of issuer and gateway may differ.
LEEWAY: Final = 30
# So many tokens are remembered until they expire: verifying one costs a third of a call.
_MOST: Final = 4096
_LONGEST_SUBJECT: Final = 512


class _Remembered(NamedTuple):
    """A token that was valid.

    Attributes:
        caller: Who bears it.
        until: When it expires, in seconds of the epoch, with the leeway.
        ring: The keys by which it was verified. With others it has to be verified again.
    """

    caller: Caller
    until: float
    ring: KeyRing


class Tokens:
    """Verifies tokens, and remembers the valid ones until they expire."""

    def __init__(
        self, source: KeySource, *, issuer: str, audience: str, clock: Callable[[], float] = time.time
    ) -> None:
        """Sets what is demanded of a token.

        Args:
            source: Where the keys come from.
            issuer: Who has to have issued it.
            audience: For whom it has to be.
            clock: Tells the time in seconds of the epoch.
        """
        self._source = source
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._remembered: dict[bytes, _Remembered] = {}

    async def caller(self, token: str) -> Caller:
        """Returns who bears a token.

        Raises:
            IdentityError: It is not valid.
        """
        if not token.isascii():
            raise IdentityError("the token is not a JSON Web Token")
        digest = _digest(token)
        known = self._remembered.get(digest)
        if known is not None and known.ring is self._source.ring and self._clock() < known.until:
            return known.caller
        self._remembered.pop(digest, None)
        claims, ring = await self._verified(token)
        caller = self._read(claims)
        if len(self._remembered) >= _MOST:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = _Remembered(caller, claims["exp"] + LEEWAY, ring)
        return caller

    def remaining(self, token: str) -> float | None:
        """Returns the seconds until a token that was valid expires, with the leeway; None if it is not remembered."""
        known = self._remembered.get(_digest(token))
        return None if known is None else known.until - self._clock()

    async def _verified(self, token: str) -> tuple[dict[str, Any], KeyRing]:
        """Returns the claims of a token whose signature is right, and the keys that say so."""
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
        except (JoseError, ValueError):
            raise IdentityError("the token is not a JSON Web Token") from None
        if kid is not None and not isinstance(kid, str):
            raise IdentityError("the kid header of the token is not a string")
        if self._source.ring.find(kid) is None:
            await self._source.ask()
        ring = self._source.ring
        pinned = ring.find(kid)
        if pinned is None:
            raise IdentityError("no key of the key set matches the kid header of the token")
        return _claims(token, pinned), ring

    def _read(self, claims: dict[str, Any]) -> Caller:
        registry = jwt.JWTClaimsRegistry(
            now=int(self._clock()),
            leeway=LEEWAY,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            registry.validate(claims)
        except (JoseError, TypeError, ValueError) as error:
            raise IdentityError(f"the claims of the token are not valid: {error}") from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
            raise IdentityError("the claim sub is not printable text, or is too long")
        return Caller((JWT + subject,))


def _digest(token: str) -> bytes:
    """Returns what a token is remembered by: what is in memory is of no use to whoever reads it."""
    return hashlib.sha256(token.encode()).digest()


def _claims(token: str, pinned: PinnedKey) -> dict[str, Any]:
    try:
        # It warns of EdDSA, since that can be of another curve than is meant. Here the key says which.
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):
            # By the algorithm of the key, whatever the token says of its own.
            return jwt.decode(token, pinned.key, algorithms=[pinned.algorithm]).claims
    except (JoseError, ValueError, TypeError) as error:
        raise IdentityError(f"the token cannot be verified: {type(error).__name__}") from None

"""The keys by which tokens are verified: what is used of a JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES: Final = 1_048_576
# The algorithms that a key may name, by its type and curve. The first is that of one which names none. HMAC is none of
# them: who verifies could sign as well.
_ALGORITHMS: Final = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    # One algorithm by two names: that of RFC 8037, which issuers use, and that of RFC 9864.
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
}
_LEAST_RSA_BITS: Final = 2048


class PinnedKey(NamedTuple):
    """A public key, and the only algorithm that it verifies.

    Attributes:
        key: The key, as the library has it.
        algorithm: The algorithm, such as `RS256`.
    """

    key: Any
    algorithm: str


class KeyRing:
    """The keys of a set that can be used, by their ids. Two are never equal, unless they are the same one."""

    def __init__(self, keys: Mapping[str, PinnedKey]) -> None:
        self._keys = MappingProxyType(dict(keys))

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None) -> PinnedKey | None:
        """Returns the key with an id; of a token that names none, the only one that there is. None if there is none."""
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)


NO_KEYS: Final = KeyRing({})


def parse(content: bytes) -> KeyRing:
    """Reads a key set. Keys that are not for signatures, or of a kind that is not used here, are left out.

    Raises:
        ValueError: It is none, or has no key that can be used.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES} bytes")
    try:
        listed = msgspec.json.decode(content, type=dict[str, Any])["keys"]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        raise ValueError("is not a JSON Web Key Set") from None
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    found: dict[str, PinnedKey] = {}
    for entry in entries:
        pinned = _pinned(entry)
        if pinned is not None:
            kid = entry.get("kid")
            found[kid if isinstance(kid, str) else ""] = pinned
    if not found:
        raise ValueError("holds no public key that can be used to verify signatures")
    return KeyRing(found)


def _pinned(entry: dict[str, Any]) -> PinnedKey | None:
    kind, curve = entry.get("kty"), entry.get("crv", "")
    if entry.get("use", "sig") != "sig" or not isinstance(kind, str) or not isinstance(curve, str):
        return None
    known = _ALGORITHMS.get((kind, curve), ())
    algorithm: Any = entry.get("alg", next(iter(known), None))
    if algorithm not in known:
        return None
    # Only what is public of it: a private key that was put here by mistake is not kept.
    public: dict[str, Any] = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}
    try:
        if kind == "RSA" and _bits(public["n"]) < _LEAST_RSA_BITS:
            return None
        key = JWKRegistry.import_key(public)
    except (JoseError, KeyError, ValueError, TypeError):
        return None
    return PinnedKey(key, algorithm)


def _bits(modulus: str) -> int:
    """Returns the size of an RSA key."""
    return int.from_bytes(urlsafe_b64decode(modulus + "==")).bit_length()

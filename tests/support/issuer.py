"""An issuer of tokens: its keys, the key set that it publishes, and the tokens that it signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import warnings
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

ISSUER: Final = "https://issuer.example"
AUDIENCE: Final = "allocation-gateway"
SUBJECT: Final = "system:serviceaccount:shop:checkout"
_LIFE: Final = 600


class Issuer:
    """Signs tokens with keys of its own.

    Attributes:
        keys: The keys by their ids, with the algorithm of each.
    """

    def __init__(self, **kinds: str) -> None:
        """Makes keys of kinds: `RS256`, `ES256`, `PS256`, `EdDSA` and so on, by their ids."""
        self.keys: dict[str, tuple[ECKey | OKPKey | RSAKey, str]] = {}
        for kid, algorithm in (kinds or {"one": "RS256"}).items():
            self.add(kid, algorithm)

    def add(self, kid: str, algorithm: str = "RS256") -> None:
        """Makes one more key."""
        made: ECKey | OKPKey | RSAKey
        if algorithm in {"EdDSA", "Ed25519"}:
            made = OKPKey.generate_key("Ed25519")
        elif algorithm.startswith("ES"):
            made = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
        else:
            made = RSAKey.generate_key(2048)
        self.keys[kid] = made, algorithm

    def key_set(self, *, says_algorithms: bool = True) -> dict[str, Any]:
        """Returns what it publishes."""
        entries: list[dict[str, Any]] = []
        for kid, (key, algorithm) in self.keys.items():
            told = {"alg": algorithm} if says_algorithms else {}
            entries.append({**key.as_dict(private=False), "kid": kid, "use": "sig", **told})
        return {"keys": entries}

    def published(self) -> bytes:
        """Returns what it publishes, as JSON."""
        return json.dumps(self.key_set()).encode()

    def token(
        self, subject: str = SUBJECT, *, kid: str = "", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """Returns a token that is valid, but for what is given. A claim that is None is left out."""
        kid = kid or next(iter(self.keys))
        key, algorithm = self.keys[kid]
        now = int(time.time())
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + _LIFE, **claims}
        head = {"alg": algorithm, "kid": kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        kept = {name: value for name, value in said.items() if value is not None}
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # of EdDSA
            return jwt.encode(head, kept, key, algorithms=[head["alg"]])

    def unsigned(self) -> str:
        """Returns a token that says that it needs no signature."""
        return f"{_encoded({'alg': 'none', 'kid': next(iter(self.keys))})}.{self.token().split('.')[1]}."

    def signed_with_the_public_key(self) -> str:
        """Returns a token whose HMAC has the public key for its secret, which everybody knows."""
        kid, (key, _) = next(iter(self.keys.items()))
        text = f"{_encoded({'alg': 'HS256', 'kid': kid})}.{self.token().split('.')[1]}"
        secret = key.as_pem(private=False)
        return f"{text}.{_base64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def _encoded(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata of a call that bears a token."""
    return (("authorization", f"Bearer {token}"),)

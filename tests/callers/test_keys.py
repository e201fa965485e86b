"""What is used of a key set."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from allocation_gateway.callers import keys
from joserfc.jwk import ECKey, OctKey, OKPKey
from support.issuer import Issuer

MAIN: Final = Issuer(rsa="RS256", ec="ES384", es="ES256", ed="EdDSA")


def parsed(*entries: Any) -> keys.KeyRing:
    return keys.parse(json.dumps({"keys": entries}).encode())


def entry(kid: str = "rsa", **more: Any) -> dict[str, Any]:
    found = next(entry for entry in MAIN.key_set()["keys"] if entry["kid"] == kid)
    return {name: value for name, value in {**found, **more}.items() if value is not None}


@pytest.mark.parametrize("kid", MAIN.keys)
@pytest.mark.parametrize("says_algorithm", [True, False])
def test_each_key_has_one_algorithm(kid: str, says_algorithm: bool) -> None:
    ring = parsed(entry(kid) if says_algorithm else entry(kid, alg=None))
    found = ring.find(kid)
    assert found is not None
    assert found.algorithm == MAIN.keys[kid][1]


def test_the_one_algorithm_of_ed25519_has_two_names_of_which_a_key_has_one() -> None:
    found = parsed(entry("ed", alg="Ed25519")).find("ed")
    assert found is not None
    assert found.algorithm == "Ed25519"


LEFT_OUT: Final = {
    "HMAC": {**OctKey.generate_key(256).as_dict(), "kid": "oct", "alg": "HS256"},
    "HMAC by an RSA key": entry(alg="HS256"),
    "none": entry(alg="none"),
    "for encryption": entry(use="enc"),
    "algorithm of another type": entry(alg="ES256"),
    "algorithm of another curve": entry("ec", alg="ES256"),
    "short RSA": entry(n=entry()["n"][: 1536 // 6]),
    "unknown curve": {**ECKey.generate_key("secp256k1").as_dict(private=False), "kid": "bitcoin"},
    "Ed448": {**OKPKey.generate_key("Ed448").as_dict(private=False), "kid": "ed", "alg": "EdDSA"},
    "X25519": {**OKPKey.generate_key("X25519").as_dict(private=False), "kid": "ed"},
    "EdDSA by an RSA key": entry(alg="EdDSA"),
    "ES256 by Ed25519": entry("ed", alg="ES256"),
    "HMAC by Ed25519": entry("ed", alg="HS256"),
    "no point of Ed25519": entry("ed", x="AA"),
    "unknown type": {"kty": "lattice", "kid": "future"},
    "no point": entry("ec", x="AA"),
    "no modulus": entry(n=None),
    "type is no text": entry(kty=5),
    "no object": "key",
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_keys_that_cannot_be_used_are_left_out(case: str) -> None:
    """The others count, and a set that has no others is refused."""
    assert len(parsed(LEFT_OUT[case], entry("es"))) == 1
    with pytest.raises(ValueError, match="holds no public key"):
        parsed(LEFT_OUT[case])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"keys": 1}', b'{"keys": {}}'])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"[Kk]ey"):
        keys.parse(content)


def test_set_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="larger"):
        keys.parse(b" " * (keys.MOST_BYTES + 1))


def test_private_key_that_was_published_by_mistake_is_not_kept() -> None:
    private = {**MAIN.keys["rsa"][0].as_dict(private=True), "kid": "rsa"}
    found = parsed(private).find("rsa")
    assert found is not None
    assert not found.key.is_private


def test_token_without_a_key_id_is_for_the_only_key() -> None:
    assert parsed(entry()).find(None) is not None
    assert parsed(entry(), entry("es")).find(None) is None
    assert parsed(entry()).find("other") is None

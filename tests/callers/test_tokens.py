"""Who calls, by a token: over the wire of the real gateway, with tokens that are signed here."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.callers import tokens
from allocation_gateway.callers.errors import IdentityError
from allocation_gateway.callers.key_sources import KeysFromFile, KeysFromUrl
from allocation_gateway.callers.rpcs import REFLECTION
from allocation_gateway.callers.tokens import LEEWAY, Tokens
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.clock import Clock
from support.front import LONG, READ, Front, another_write, running_front
from support.issuer import AUDIENCE, ISSUER, SUBJECT, Issuer, bearing
from support.status import Failure, failure
from support.upstream import Reply, running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocation_gateway.callers.keys import PinnedKey

MAIN: Final = Issuer(rsa="RS256", ec="ES256", long="ES512", pss="PS256", ed="EdDSA", edwards="Ed25519")
# It has a key with an id that the other one has too.
STRANGER: Final = Issuer(rsa="RS256")
TOKENS: Final = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A gateway that takes the tokens of an issuer."""
    file = tmp_path_factory.mktemp("keys") / "jwks.json"
    file.write_bytes(MAIN.published())
    with running_front(settings={"JWKS_FILE": str(file), **TOKENS}) as front:
        yield front


def read(front: Front, metadata: Any) -> None:
    front.stub.GetShipmentAllocation(READ, timeout=LONG, metadata=metadata)


def wire(told: Failure) -> tuple[object, ...]:
    return told.code, told.message, told.reason, told.metadata, [detail.SerializeToString() for detail in told.details]


@pytest.mark.parametrize("kid", MAIN.keys)
@pytest.mark.parametrize(
    "claims", [{}, {"aud": ["somebody", AUDIENCE]}, {"iat": None}, {"nbf": 0}], ids=["plain", "many", "no iat", "nbf"]
)
def test_call_with_a_valid_token_is_answered(front: Front, kid: str, claims: dict[str, Any]) -> None:
    """Twice: the second time, it is remembered."""
    for _ in range(2):
        read(front, bearing(MAIN.token(kid=kid, **claims)))


def test_scheme_is_written_as_anybody_likes(front: Front) -> None:
    read(front, (("authorization", f"bEARER  {MAIN.token()}"),))


def test_clocks_may_differ_by_the_leeway(front: Front) -> None:
    now = int(time.time())
    read(front, bearing(MAIN.token(exp=now - LEEWAY // 2)))
    read(front, bearing(MAIN.token(nbf=now + LEEWAY // 2)))


def cases() -> dict[str, tuple[Any, str]]:
    """Returns what a call can come with that names nobody, and what the log says of it."""
    now = int(time.time())
    far = 2 * LEEWAY
    token = MAIN.token()
    head, body, signature = token.split(".")
    other = MAIN.token("somebody else").split(".")[1]
    return {
        "nothing": ((), "neither a token nor a client certificate"),
        "no token": ((("authorization", "Bearer "),), "does not hold a bearer token"),
        "another scheme": ((("authorization", "Basic YTpi"),), "does not hold a bearer token"),
        "two tokens": (bearing(token) * 2, "more than one authorization header"),
        "no JWT": (bearing("a.b.c"), "not a JSON Web Token"),
        "no signature": (bearing(MAIN.unsigned()), "cannot be verified"),
        "empty signature": (bearing(f"{head}.{body}."), "cannot be verified"),
        "HMAC with the public key": (bearing(MAIN.signed_with_the_public_key()), "cannot be verified"),
        "another algorithm": (bearing(MAIN.token(kid="rsa", header={"alg": "PS256"})), "cannot be verified"),
        "the name of the same": (bearing(MAIN.token(kid="ed", header={"alg": "Ed25519"})), "cannot be verified"),
        "somebody else's key": (bearing(STRANGER.token()), "cannot be verified"),
        "other claims": (bearing(f"{head}.{other}.{signature}"), "cannot be verified"),
        "unknown key": (bearing(MAIN.token(header={"kid": "new"})), "no key of the key set matches"),
        "no key id": (bearing(MAIN.token(header={"kid": None})), "no key of the key set matches"),
        "expired": (bearing(MAIN.token(exp=now - far)), "claims"),
        "not valid yet": (bearing(MAIN.token(nbf=now + far)), "claims"),
        "issued later": (bearing(MAIN.token(iat=now + far)), "claims"),
        "another issuer": (bearing(MAIN.token(iss="https://other.example")), "claims"),
        "another audience": (bearing(MAIN.token(aud="another")), "claims"),
        "other audiences": (bearing(MAIN.token(aud=["another", "third"])), "claims"),
        "no issuer": (bearing(MAIN.token(iss=None)), "claims"),
        "no audience": (bearing(MAIN.token(aud=None)), "claims"),
        "never expires": (bearing(MAIN.token(exp=None)), "claims"),
        "expires as a text": (bearing(MAIN.token(exp=str(now + far))), "claims"),
        "nobody": (bearing(MAIN.token(sub=None)), "claims"),
        "no text": (bearing(MAIN.token(sub=["me"])), "claims"),
        "control characters": (bearing(MAIN.token("a\nb")), "claim sub"),
    }


@pytest.mark.parametrize("case", cases())
def test_call_without_a_valid_identity_is_refused_in_constant_shape(front: Front, case: str) -> None:
    """Whatever is wrong, callers are told the same. The log has it, upstream is not asked, and no token is logged."""
    metadata, problem = cases()[case]
    front.upstream.forget()
    front.gateway.forget()
    told = failure(lambda: read(front, metadata))
    assert wire(told) == wire(failure(lambda: read(front, ())))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
    assert (
        failure(lambda: front.stub.AllocateShipment(another_write(), timeout=LONG, metadata=metadata)).code is told.code
    )
    assert front.upstream.received.empty()
    line = front.gateway.wait_for("audit", rpc="GetShipmentAllocation", code="UNAUTHENTICATED")
    assert problem in line["problem"]
    for _, value in metadata:
        token = value.rpartition(" ")[2]
        assert not token or token not in json.dumps(front.gateway.lines)


def test_health_stays_open_and_reflection_does_not(front: Front) -> None:
    health: Any = health_pb2_grpc.HealthStub(front.channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=LONG).status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(front.channel)

    def services(metadata: Any) -> list[Any]:
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        return list(reflection.ServerReflectionInfo(asked, timeout=LONG, metadata=metadata))

    assert failure(lambda: services(())).reason == "CALLER_UNAUTHENTICATED"
    assert services(bearing(MAIN.token()))


def test_audit_line_of_a_refused_write_is_bounded(front: Front) -> None:
    """Whoever is refused may have sent very many references, or very long ones."""
    front.gateway.forget()
    request = pb.AllocateShipmentsRequest(shipments=["a" * 1_000, *["b"] * 5_000])
    told = failure(lambda: front.stub.AllocateShipments(request, timeout=LONG))
    assert told.code is grpc.StatusCode.UNAUTHENTICATED
    references = front.gateway.wait_for("audit", rpc="AllocateShipments")["references"]
    assert (len(references), max(map(len, references))) == (1_000, 256)


def test_log_lines_and_the_audit_line_of_a_write_name_the_caller(front: Front) -> None:
    front.gateway.forget()
    write = another_write()
    write.request_id = str(uuid.uuid4())
    front.stub.AllocateShipment(write, timeout=LONG, metadata=bearing(MAIN.token()))
    named: dict[str, Any] = {"caller": f"jwt:{SUBJECT}", "request_id": write.request_id, "code": "OK"}
    front.gateway.wait_for("call", **named)
    line = front.gateway.wait_for("audit", **named)
    assert (line["references"], line["account"], line["rpc"]) == (
        [write.shipment_reference],
        "default",
        "AllocateShipment",
    )
    read(front, bearing(MAIN.token()))
    front.gateway.wait_for("call", rpc="GetShipmentAllocation")
    # The line of a call that another test made may be late.
    audited = [line["rpc"] for line in front.gateway.lines if line["event"] == "audit"]
    assert [rpc for rpc in audited if rpc != REFLECTION] == ["AllocateShipment"]


def test_keys_are_replaced_in_their_file_without_a_restart(tmp_path: Path) -> None:
    """What was remembered by a key that is gone counts no more, and a bad edit leaves the last good keys in use."""
    old, new = Issuer(old="RS256"), Issuer(new="RS256")
    file = tmp_path / "jwks.json"
    file.write_bytes(old.published())
    with running_front(settings={"JWKS_FILE": str(file), **TOKENS}) as front:
        token = old.token()
        read(front, bearing(token))
        file.write_bytes(b"{")
        front.gateway.wait_for("token_keys_rejected", problem="is not a JSON Web Key Set")
        read(front, bearing(token))
        file.write_bytes(new.published())
        read(front, bearing(new.token()))  # at once: its key is looked for
        assert failure(lambda: read(front, bearing(token))).reason == "CALLER_UNAUTHENTICATED"


def test_keys_from_a_url_are_found_at_once_and_not_asked_for_by_everybody() -> None:
    """One that is not known has the set fetched, but whoever makes up many keys has it fetched no more often."""
    issuer = Issuer(first="ES256")
    fetched = []

    with running_upstream() as published:

        def answer(received: Any) -> Reply:
            fetched.append(received.line)
            return Reply(200, issuer.key_set())

        published.default = answer
        with running_front(settings={"JWKS_URL": f"{published.url}/keys?a=b", **TOKENS}) as front:
            read(front, bearing(issuer.token()))
            assert fetched == ["GET /pro/keys?a=b HTTP/1.1"]
            issuer.add("second", "ES256")
            read(front, bearing(issuer.token(kid="second")))
            assert len(fetched) == 2
            for number in range(50):
                made_up = issuer.token(header={"kid": f"{number}"})
                assert failure(partial(read, front, bearing(made_up))).reason == "CALLER_UNAUTHENTICATED"
            assert len(fetched) == 2
            read(front, bearing(issuer.token()))


def test_keys_that_cannot_be_had_refuse_calls_and_are_asked_for_again(tmp_path: Path) -> None:
    """The gateway starts without them, and uses them as soon as there are any."""
    issuer = Issuer(first="ES256")
    with running_upstream() as published:
        published.default = lambda _: Reply(500)
        with running_front(settings={"JWKS_URL": published.url, **TOKENS}) as front:
            front.gateway.wait_for("token_keys_rejected", problem="HTTP status 500")
            published.default = lambda _: Reply(200, issuer.key_set())
            read(front, bearing(issuer.token()))


def head(text: str) -> str:
    """Returns a token with a head that nobody has signed."""
    return ".".join([base64.urlsafe_b64encode(text.encode()).decode().rstrip("="), *MAIN.token().split(".")[1:]])


@pytest.mark.parametrize(
    "token",
    [
        head("5"),
        head("[]"),
        head("null"),
        head('"text"'),
        head("{}"),
        head("[" * 8000),
        head('{"alg": "RS256", "kid": ["rsa"]}'),
        head('{"alg": 5, "kid": "rsa"}'),
        head('{"alg": null, "kid": "rsa"}'),
        head('{"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false}'),
        head('{"alg": "RS256", "kid": "rsa", "crit": 5}'),
        head('{"alg": "RS256", "kid": "rsa", "jwk": {"kty": "oct", "k": "AA"}}'),
        head('{"alg": "dir", "enc": "A128GCM", "kid": "rsa"}'),
        "",
        ".",
        "..",
        "....",
        "\ud800.a.b",
    ],
)
def test_head_that_nobody_has_signed_is_no_defect(token: str, tmp_path: Path) -> None:
    """Whatever is in it, the token is not valid, and nothing else comes of it."""

    async def run() -> None:
        with pytest.raises(IdentityError):
            await remembering(tmp_path, Clock()).caller(token)

    asyncio.run(run())


def remembering(tmp_path: Path, clock: Clock) -> Tokens:
    file = tmp_path / "jwks.json"
    file.write_bytes(MAIN.published())
    return Tokens(KeysFromFile(file, MAIN.published()), issuer=ISSUER, audience=AUDIENCE, clock=clock)


def test_remembered_token_counts_until_it_expires(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Clock()
        clock.now = time.time()
        known = remembering(tmp_path, clock)
        token = MAIN.token(exp=int(clock()) + 60)
        assert (await known.caller(token)).name == f"jwt:{SUBJECT}"
        clock.advance(60 + LEEWAY / 2)
        await known.caller(token)
        clock.advance(LEEWAY)
        with pytest.raises(IdentityError, match="claims"):
            await known.caller(token)

    asyncio.run(run())


def test_few_tokens_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of those that are, none is verified again."""
    monkeypatch.setattr(tokens, "_MOST", 3)
    verified: list[str] = []
    read_claims = tokens._claims

    def counted(token: str, pinned: PinnedKey) -> dict[str, Any]:
        verified.append(token)
        return read_claims(token, pinned)

    monkeypatch.setattr(tokens, "_claims", counted)

    async def run() -> None:
        clock = Clock()
        clock.now = time.time()
        known = remembering(tmp_path, clock)
        made = [MAIN.token(f"{number}", kid="ec") for number in range(5)]
        for token in made:
            await known.caller(token)
            await known.caller(token)
        assert len(verified) == 5
        await known.caller(made[-1])
        assert len(verified) == 5
        await known.caller(made[0])
        assert len(verified) == 6

    asyncio.run(run())


def test_few_calls_wait_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes up keys while their server hangs holds no calls but those few."""

    async def run(url: str) -> None:
        source = KeysFromUrl(url)
        asked = [asyncio.create_task(source.ask()) for _ in range(1000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = sum(not task.done() for task in asked)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await source.close()
        assert 0 < waiting <= 64

    with running_upstream() as published:
        release = published.hold()
        asyncio.run(run(published.url))
        release.set()

"""The defences of callers, policy, accounts and secrets, each of which can be taken out of a process."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway import server_diagnosis
from allocation_gateway.accounts import file
from allocation_gateway.accounts.book import Accounts
from allocation_gateway.callers import (
    certificates,
    guard,
    key_sources,
    keys,
    patterns,
    policy,
    rpcs,
    tokens,
)
from allocation_gateway.callers.errors import IdentityError
from allocation_gateway.callers.guard import Guard
from allocation_gateway.callers.key_sources import KeySource
from allocation_gateway.callers.model import DNS, JWT, SPIFFE, Caller
from allocation_gateway.callers.policy import Grant, Policy
from allocation_gateway.callers.policy_file import PolicyFile
from allocation_gateway.callers.shares import Share
from allocation_gateway.callers.tokens import Tokens
from allocation_gateway.errors import GatewayError
from allocation_gateway.following import Follower
from allocation_gateway.rpc.certificates import CertificateFiles
from allocation_gateway.server_diagnosis import ServerProblem
from allocation_gateway.settings import AccountsError, Secret, accounts, checks, server_url, server_url_options
from allocation_gateway.settings.known_secrets import KnownSecrets
from allocation_gateway.settings.server_url import ServerUrl
from allocation_gateway.upstream.redaction import Redactor
from chaos import broken_accounts
from cryptography import x509
from grpc import StatusCode
from joserfc import jwt
from joserfc.errors import JoseError
from redis import exceptions
from support.removal import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

# Further off than any test lasts.
_NEVER: Final = 1 << 40
_ALGORITHMS: Final = ("RS256", "RS384", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256", "none")


def identity() -> None:
    """Whoever calls may do anything."""

    async def admit(*_: object) -> None: ...

    replace(Guard, "admit", admit)


def pinned_algorithms() -> None:
    """A token is verified by the algorithm that it names itself, and a key is of any algorithm that it names."""

    class AnyAlgorithm(dict[Any, Any]):
        def get(self, *_: object) -> Any:
            return _ALGORITHMS

    def claims(token: str, pinned: keys.PinnedKey) -> dict[str, Any]:
        signed, _, signature = token.rpartition(".")
        head, body = (json.loads(_decoded(part)) for part in signed.split("."))
        if head["alg"] == "none":
            return dict(body)
        if head["alg"] == "HS256":
            secret = pinned.key.as_pem(private=False)
            if hmac.digest(secret, signed.encode(), hashlib.sha256) == _decoded(signature):
                return dict(body)
        try:
            return dict(jwt.decode(token, pinned.key, algorithms=[head["alg"]]).claims)
        except (JoseError, ValueError, TypeError) as error:
            raise IdentityError(f"the token cannot be verified: {type(error).__name__}") from None

    replace(keys, "_ALGORITHMS", AnyAlgorithm())
    replace(tokens, "_claims", claims)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims_of_tokens() -> None:
    """A token that is signed counts, whatever it says."""

    def read(_: Tokens, claims: dict[str, Any]) -> Caller:
        claims.setdefault("exp", _NEVER)
        return Caller((JWT + str(claims["sub"]),))

    replace(Tokens, "_read", read)


def end_of_remembering() -> None:
    """What was valid once is so for ever."""
    caller = Tokens.caller
    known: dict[str, Caller] = {}

    async def remembered(of: Tokens, token: str) -> Caller:
        if token not in known:
            known[token] = await caller(of, token)
        return known[token]

    replace(Tokens, "caller", remembered)


def bounds_of_keys_and_tokens() -> None:
    """Keys are asked for whenever a token names one that is not known, everybody waits, and each token is kept."""

    class Bottomless(dict[Any, Any]):
        def __len__(self) -> int:
            return 0

    initialise = Tokens.__init__

    def remembering(of: Tokens, *given: Any, **more: Any) -> None:
        initialise(of, *given, **more)
        replace(of, "_remembered", Bottomless())

    replace(Tokens, "__init__", remembering)
    replace(key_sources, "_URL_ASKED_EVERY", 0.0)
    replace(key_sources, "_MOST_WAITING", _NEVER)


def tls_of_keys() -> None:
    """Keys are taken from anywhere."""
    replace(checks, "_key_url", lambda *_, **__: None)


def constant_shape() -> None:
    """Callers are told what is wrong with their token."""

    def told() -> GatewayError:
        reason = ErrorReason.ERROR_REASON_CALLER_UNAUTHENTICATED
        return GatewayError(StatusCode.UNAUTHENTICATED, reason, str(sys.exception()))

    replace(guard, "unauthenticated", told)


def one_identity() -> None:
    """Of several SPIFFE ids, each is the caller's."""

    def names(pem: bytes) -> tuple[str, ...]:
        try:
            extensions = x509.load_pem_x509_certificate(pem).extensions
            found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        ids = [uri for uri in found.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(SPIFFE)]
        return (*ids, *(f"{DNS}{name.lower()}" for name in found.get_values_for_type(x509.DNSName)))

    replace(certificates, "_names", names)


def tokens_before_certificates() -> None:
    """A token that is not valid is made up for by the certificate of the connection."""
    identify = Guard._identify

    async def lenient(of: Guard, metadata: Any, auth_context: Any) -> Caller:
        try:
            return await identify(of, metadata, auth_context)
        except IdentityError:
            return of._certificates.caller(auth_context)

    replace(Guard, "_identify", lenient)


def rules() -> None:
    """Whoever is somebody may call every rpc."""
    every = frozenset().union(*rpcs.groups().values())
    grant = Grant("everybody", every, frozenset(["default"]), None, Share(0.0, 10, 0))
    replace(Policy, "grant", lambda *_: grant)


def separators() -> None:
    """An asterisk stands for any text."""
    part = patterns._part
    replace(patterns, "_part", lambda text, _: ".+" if text.startswith("*") else part(text, ""))


def groups_of_rules() -> None:
    """The service groups of a rule are passed over."""
    grant = policy._grant
    replace(policy, "_grant", lambda *given: grant(*given)._replace(service_groups=None))


def shares() -> None:
    """A caller may use as much as there is."""

    def enter(share: Share) -> Share:
        share.in_hand += 1
        return share

    replace(Share, "__enter__", enter)


def last_good_content() -> None:
    """A bad edit of the policy or of the keys takes away what there was."""
    take, use = PolicyFile._take, KeySource._use

    async def taken(file: PolicyFile, content: bytes | str) -> bool:
        is_good = await take(file, content)
        if not is_good:
            file.current = Policy([])
        return is_good

    def used(source: KeySource, content: bytes, name: str) -> bool:
        is_good = use(source, content, name)
        if not is_good:
            source.ring = keys.NO_KEYS
        return is_good

    replace(PolicyFile, "_take", taken)
    replace(KeySource, "_use", used)


def known_accounts() -> None:
    """A call for an account that there is not is made for the one of the settings."""
    chosen = Accounts.chosen

    def any_account(book: Accounts, metadata: Any, allowed: Any, fields: Any) -> Any:
        try:
            return chosen(book, metadata, allowed, fields)
        except GatewayError as error:
            if error.code is not StatusCode.NOT_FOUND:
                raise
            return book.default

    replace(Accounts, "chosen", any_account)


def keys_of_accounts() -> None:
    """An account takes over the keys that it has none of."""
    replace(accounts, "_NO_KEY", {})


def claims_of_accounts() -> None:
    """The claims of an API are one account's as much as the other's."""
    for place, name, value in broken_accounts.shared_claims():
        replace(place, name, value)


def accounts_of_rules() -> None:
    """A caller may use each account."""
    chosen = Accounts.chosen

    def any_account(book: Accounts, metadata: Any, _: Collection[str] | None, fields: Any) -> Any:
        return chosen(book, metadata, None, fields)

    replace(Accounts, "chosen", any_account)


def audit() -> None:
    """Nobody writes down who did what."""
    replace(Guard, "audit", lambda *_, **__: None)


def following() -> None:
    """What was in a file when the process started counts until its end."""
    first: dict[str, ServerUrl] = {}
    with_password = ServerUrl.with_password

    async def check(*_: object, **__: object) -> None: ...

    def as_at_first(url: ServerUrl) -> ServerUrl:
        return first.setdefault(url.password_file, with_password(url))

    replace(Follower, "check", check)
    replace(CertificateFiles, "read", lambda _: None)
    replace(ServerUrl, "with_password", as_at_first)


def files_of_secrets() -> None:
    """The password of a server can only stand in its URL."""
    options = dict(server_url_options._OPTIONS)
    del options["password_file"]
    replace(server_url_options, "_OPTIONS", options)


def redaction() -> None:
    """Secrets show themselves, answers are passed on as they are, and what is wrong with a URL or a file quotes it."""
    parse, parse_accounts = server_url.parse, accounts.parse_accounts

    def quoting(url: str) -> ServerUrl:
        try:
            return parse(url)
        except ValueError as error:
            raise ValueError(f"{error}: {url}") from None

    def quoting_accounts(content: bytes, *given: Any) -> Any:
        try:
            return parse_accounts(content, *given)
        except AccountsError as error:
            raise AccountsError(f"{error}: {content!r}") from None

    replace(file, "parse_accounts", quoting_accounts)
    replace(Redactor, "redacted", lambda _, answer: answer)
    replace(KnownSecrets, "without", lambda _, text: text)
    replace(Secret, "__repr__", Secret.reveal)
    replace(server_url, "parse", quoting)


def quotations() -> None:
    """What a store says is told as it says it."""

    def told(error: BaseException, _: ServerUrl) -> ServerProblem | None:
        is_answer = isinstance(error, exceptions.ResponseError)
        return ServerProblem("answer", f"the server answers: {error}") if is_answer else None

    replace(server_diagnosis, "_of_answer", told)


DEFENCES: Final[Mapping[str, Callable[[], None]]] = {
    one.__name__: one
    for one in (
        identity,
        pinned_algorithms,
        claims_of_tokens,
        end_of_remembering,
        bounds_of_keys_and_tokens,
        tls_of_keys,
        constant_shape,
        one_identity,
        tokens_before_certificates,
        rules,
        separators,
        groups_of_rules,
        shares,
        last_good_content,
        known_accounts,
        keys_of_accounts,
        claims_of_accounts,
        accounts_of_rules,
        audit,
        following,
        files_of_secrets,
        redaction,
        quotations,
    )
}


def take_out(name: str) -> None:
    """Takes a defence out of this process."""
    DEFENCES[name]()

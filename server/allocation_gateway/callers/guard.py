"""Asks of each call who makes it and whether the policy allows it, and leaves an audit line where that matters."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import structlog

from allocation_gateway.callers.errors import CALLER_REASONS, IdentityError, not_allowed, unauthenticated
from allocation_gateway.errors import name_of
from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry.named import OTHER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from allocation_gateway.callers.certificates import CallerCertificates
    from allocation_gateway.callers.model import Caller
    from allocation_gateway.callers.policy import Grant
    from allocation_gateway.callers.policy_file import PolicyFile
    from allocation_gateway.callers.tokens import Tokens
    from allocation_gateway.telemetry.instruments import Instruments

_AUTHORIZATION: Final = "authorization"
_SCHEME: Final = "bearer"
_CALLER_REASONS: Final = frozenset(map(name_of, CALLER_REASONS))
# References that an audit line has, and their characters: a request that was refused may have a hundred thousand of
# them, or one of a quarter of a megabyte.
_MOST_REFERENCES: Final = 1_000
_MOST_CHARACTERS: Final = 256


class Guard:
    """What stands between callers and the rpcs.

    Attributes:
        rereads: What reads again, at once, the files that it depends on.
    """

    def __init__(
        self,
        tokens: Tokens | None,
        certificates: CallerCertificates,
        policy: PolicyFile | None,
        metrics: Instruments,
        *,
        rereads: Iterable[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """Takes what decides.

        Args:
            tokens: What verifies tokens; None if none are taken.
            certificates: What reads client certificates.
            policy: What callers may do; None if whoever has an identity may do anything.
            metrics: Where refusals are counted.
            rereads: What reads again the files that these depend on.
        """
        self._tokens = tokens
        self._certificates = certificates
        self._policy = policy
        self._metrics = metrics
        self.rereads = tuple(rereads)
        # Bound once: what get_logger returns would look for its logger at each line.
        self._log = structlog.get_logger().bind()

    async def admit(
        self,
        rpc: str,
        metadata: Iterable[tuple[str, str | bytes]],
        auth_context: Mapping[str, Iterable[bytes]],
        fields: dict[str, Any],
    ) -> Grant | None:
        """Returns what the caller of an rpc is granted; None if there is no policy.

        Args:
            rpc: The rpc's name.
            metadata: What the caller says beside its request.
            auth_context: What TLS knows of the connection.
            fields: What log lines say of the call: who makes it is added, or what is wrong with its identity.

        Raises:
            GatewayError: UNAUTHENTICATED, nobody valid makes the call; PERMISSION_DENIED, the policy does not allow it.
        """
        try:
            caller = await self._identify(metadata, auth_context)
        except IdentityError as error:
            fields["problem"] = str(error)
            raise unauthenticated() from None
        fields["caller"] = caller.name
        if self._policy is None:
            return None
        grant = self._policy.current.grant(caller)
        if grant is None:
            raise not_allowed("anything")
        fields["rule"] = grant.rule
        if rpc not in grant.rpcs:
            raise not_allowed(f"the rpc {rpc}")
        return grant

    async def _identify(
        self, metadata: Iterable[tuple[str, str | bytes]], auth_context: Mapping[str, Iterable[bytes]]
    ) -> Caller:
        """Returns who calls: whom the token names if there is one, and else whom the certificate names.

        Raises:
            IdentityError: That is nobody.
        """
        if self._tokens is not None:
            told = _authorizations(metadata)
            if len(told) > 1:
                raise IdentityError("the call has more than one authorization header")
            if told:
                return await self._tokens.caller(_token(str(told[0])))
        return self._certificates.caller(auth_context)

    def remaining(self, metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
        """Returns the seconds until the token of a call that was just admitted expires; None if it bears none."""
        if self._tokens is None:
            return None
        told = _authorizations(metadata)
        return self._tokens.remaining(_token(str(told[0]))) if told else None

    def called(self, code: str, fields: Mapping[str, Any], seconds: float) -> None:
        """Counts a call that has ended. Who has no rule of the policy has no name here.

        Args:
            code: The gRPC status code that it ended with.
            fields: What log lines say of it.
            seconds: How long it took.
        """
        is_known = "caller" in fields and (self._policy is None or "rule" in fields)
        self._metrics.named.called(fields["caller"] if is_known else OTHER, code, seconds)

    def audit(
        self,
        code: str,
        fields: Mapping[str, Any],
        *,
        writes: bool,
        references: Callable[[], Collection[str]],
    ) -> None:
        """Leaves the audit line of a call that has ended, if it was a write or was refused because of its caller.

        Args:
            code: The gRPC status code that it ended with.
            fields: What log lines say of it: the account too, unless it is the one of the settings, and the reference
                of one that is for a single shipment or consignment.
            writes: Whether it was one to change something.
            references: Returns the shipments or consignments that it is for, from the request. It is asked only where
                the fields do not say it.
        """
        reason = fields.get("reason", "")
        if reason in _CALLER_REASONS:
            self._metrics.caller_refused(reason)
        elif not writes:
            return
        known = [fields["reference"]] if "reference" in fields else _clipped(references())
        self._log.info("audit", code=code, references=known, **{"account": DEFAULT_ACCOUNT, **fields})


def _clipped(references: Iterable[str]) -> list[str]:
    return [reference[:_MOST_CHARACTERS] for reference in islice(references, _MOST_REFERENCES)]


def _authorizations(metadata: Iterable[tuple[str, str | bytes]]) -> list[str | bytes]:
    return [value for name, value in metadata if name == _AUTHORIZATION]


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise IdentityError("the authorization header does not hold a bearer token")
    return token.strip()

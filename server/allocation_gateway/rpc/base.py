"""What every rpc has in common: admission, one way out for errors, observation, and a log line."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeAlias, TypeVar

import structlog
from allocation.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.accounts.book import ACCOUNT_KEY
from allocation_gateway.errors import DETAILS_KEY, PUSHBACK_KEY, GatewayError, WriteEffect
from allocation_gateway.following import FollowedFiles
from allocation_gateway.operations.validation import rules_of, violations
from allocation_gateway.rpc import deadlines
from allocation_gateway.settings import DEFAULT_ACCOUNT
from allocation_gateway.telemetry.conventions import is_server_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.accounts.book import Accounts
    from allocation_gateway.accounts.model import Account
    from allocation_gateway.callers.guard import Guard
    from allocation_gateway.callers.policy import Grant
    from allocation_gateway.rpc.admission import Admission
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.observation import CallObservation
    from allocation_gateway.telemetry.telemetry import Telemetry
    from allocation_gateway.writes.coordinator import Coordinator

    Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

Answer = TypeVar("Answer")

# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_CANCELLED: Final = StatusCode.CANCELLED
_OK: Final = StatusCode.OK


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything that the rpcs share. Without a guard, whoever reaches the gateway may call all of them."""

    settings: Settings
    telemetry: Telemetry
    admission: Admission
    writes: Coordinator
    accounts: Accounts
    guard: Guard | None = None
    followed: FollowedFiles = field(default_factory=FollowedFiles)


class Context(Protocol):
    """As much of grpc.aio.ServicerContext as an rpc needs: both engines have it."""

    def invocation_metadata(self) -> Metadata | None:
        """Returns what the caller says beside its request."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Returns what TLS knows of the caller: `x509_pem_cert` if it has a certificate."""

    def time_remaining(self) -> float | None:
        """Returns the seconds until the caller's deadline; None if there is none."""

    def trailing_metadata(self) -> Metadata:
        """Returns what comes back with the status."""

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Sets what comes back with the status."""

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Sends something back at once."""

    async def abort(self, code: StatusCode, details: str, trailing_metadata: Metadata) -> NoReturn:
        """Ends the call with a status that is not OK.

        Raises:
            grpc.aio.AbortError: Always.
        """


class BaseHandler(ABC):
    """Answers one rpc, from the bytes of a request to the bytes of its response or to a status."""

    def __init__(self, gateway: Gateway, full_name: str, request: type[Message], *, writes: bool = False) -> None:
        self._gateway = gateway
        self._guard = gateway.guard
        self._default = gateway.accounts.default
        self._writes = writes
        self._full_name = full_name
        self._name = full_name.rpartition("/")[2]
        self._request = request
        self._rules = rules_of(request)
        # Bound once: what get_logger returns would look for its logger at each line.
        self._log = structlog.get_logger().bind()

    async def handle(self, data: bytes, context: Context) -> bytes:
        """Answers a call.

        Raises:
            grpc.aio.AbortError: The call failed; its status is set.
        """
        metadata = context.invocation_metadata() or ()
        observation = self._gateway.telemetry.call(self._full_name, metadata)
        fields: dict[str, Any] = {"rpc": self._name, **observation.log_fields()}
        code = _CANCELLED
        try:
            with self._gateway.admission.admitted():
                if self._guard is None and ACCOUNT_KEY not in dict(metadata):
                    response = await self._answer(data, context, observation, fields, self._default, None)
                else:
                    answer = partial(self._answer, data, context, observation, fields)
                    response = await admitted(self._gateway, self._name, metadata, context, fields, answer)
            code = _OK
            return response.SerializeToString()
        except GatewayError as error:
            code = error.code
            fields.update(reason=error.reason_name, message=error.message, **error.info)
            await abort(context, error)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - no text of an exception may reach a caller, whatever it is
            code = StatusCode.INTERNAL
            self._log.exception("defect", **fields)
            fields["reason"] = DEFECT.reason_name
            await abort(context, DEFECT)
        finally:
            finish(self._log, code.name, observation, fields, self._gateway.accounts)
            if self._guard is not None:
                self._guard.called(code.name, fields, observation.seconds())
                references = partial(self._references, data)
                self._guard.audit(code.name, fields, writes=self._writes, references=references)

    @abstractmethod
    async def _answer(
        self,
        data: bytes,
        context: Context,
        observation: CallObservation,
        fields: dict[str, Any],
        account: Account,
        grant: Grant | None,
    ) -> Message:
        """Returns the response. A GatewayError becomes the call's status; fields are for its log line.

        The account is that of the call, to its end. Of what the policy grants to the caller, the rpc itself has been
        looked at. None: there is no policy.
        """

    def _references(self, data: bytes) -> tuple[str, ...]:
        """Returns the shipments or consignments that a request is for, as far as it can be read."""
        del data
        return ()

    def _parse(self, data: bytes) -> Message:
        try:
            return self._request.FromString(data)
        except DecodeError:
            raise invalid("The request is not a message of the type that the rpc takes.", []) from None

    def _check(self, request: Message, settings: Settings, effect: WriteEffect | None) -> None:
        if found := violations(request, self._rules, settings):
            raise invalid("The request is not valid.", found, effect)

    def _seconds(self, context: Context) -> float:
        """Returns how long the caller can be kept waiting."""
        settings = self._gateway.settings
        return deadlines.seconds_to_wait(context.time_remaining(), settings.default_deadline, settings.deadline_margin)


async def admitted(
    gateway: Gateway,
    rpc: str,
    metadata: Metadata,
    context: Context,
    fields: dict[str, Any],
    answer: Callable[[Account, Grant | None], Awaitable[Answer]],
) -> Answer:
    """Answers a call if its caller may make it, within its share, and for its account.

    Args:
        gateway: What all rpcs share.
        rpc: The rpc's name.
        metadata: What the caller says beside its request.
        context: The call.
        fields: What log lines say of it.
        answer: Answers it, for an account and for what its caller is granted.

    Raises:
        GatewayError: It may not; or whatever the answer raises.
    """
    guard, accounts = gateway.guard, gateway.accounts
    grant = None if guard is None else await guard.admit(rpc, metadata, context.auth_context(), fields)
    if grant is None:
        with accounts.chosen(metadata, None, fields) as account:
            return await answer(account, None)
    with accounts.chosen(metadata, grant.accounts, fields) as account, grant.share:
        return await answer(account, grant)


def finish(log: Any, code: str, observation: CallObservation, fields: dict[str, Any], accounts: Accounts) -> None:
    """Tells telemetry and the log how a call has ended.

    Args:
        log: The logger.
        code: The name of its gRPC status code.
        observation: The call, as telemetry sees it.
        fields: What its log line says besides; `reason` if it failed with one, `account` if its caller named one.
        accounts: The accounts that there are.
    """
    account = fields.get("account", DEFAULT_ACCOUNT)
    # A caller may have made the name up.
    is_known = account == DEFAULT_ACCOUNT or accounts.get(account) is not None
    observation.finish(code, fields.get("reason", ""), account if is_known else DEFAULT_ACCOUNT)
    level = "error" if is_server_error(code) else "info"
    # To the microsecond. By round(), it would go through a text and back.
    milliseconds = int(observation.seconds() * 1_000_000) / 1000
    getattr(log, level)("call", code=code, duration_ms=milliseconds, **fields)


DEFECT: Final = GatewayError(
    StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_GATEWAY_DEFECT,
    "The gateway has a defect. Its log has the cause.",
)


def invalid(message: str, found: list[Any], effect: WriteEffect | None = None) -> GatewayError:
    """Returns the error for a request that is not valid, with what is wrong with which field."""
    return GatewayError(
        StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_REQUEST,
        message,
        effect=effect,
        details=[errors.bad_request(found)] if found else (),
    )


async def abort(context: Context, error: GatewayError) -> NoReturn:
    """Ends a call with the status of an error.

    Raises:
        grpc.aio.AbortError: Always.
    """
    status = error.status()
    told: Metadata = (
        *context.trailing_metadata(),
        (DETAILS_KEY, status.SerializeToString()),
        (PUSHBACK_KEY, str(error.pushback_ms())),
    )
    await context.abort(error.code, status.message, told)

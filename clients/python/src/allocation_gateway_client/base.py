"""What the client that blocks and the one that awaits have in common: everything but calling."""

from __future__ import annotations

import math
import random
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from allocation.v1 import (
    consignment_allocation_service_pb2,
    service_group_service_pb2,
    shipment_allocation_service_pb2,
)
from google.protobuf.message_factory import GetMessageClass

from allocation_gateway_client.connecting import Tls, TokenFile, channel_arguments, headers
from allocation_gateway_client.failure import failure_of
from allocation_gateway_client.policy import SERVICE_CONFIG, Attempts, Budget, ServiceConfig

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import grpc
    from google.protobuf.message import Message

    from allocation_gateway_client.failure import Failure

M = TypeVar("M", bound="Message")

DEFAULT_TIMEOUT: Final = 60.0
_ACCOUNT: Final = "allocation-account"
_AUTHORIZATION: Final = "authorization"


@dataclass(frozen=True, slots=True)
class Rpc:
    """An rpc of the gateway.

    Attributes:
        path: As gRPC has it, such as `/allocation.v1.ServiceGroupService/GetServiceGroup`.
        request: The class of its request.
        response: The class of its response.
        is_write: Whether it has a `request_id`, and so is repeated with the same one.
        timeout: The seconds that an attempt may take.
    """

    path: str
    request: type[Message]
    response: type[Message]
    is_write: bool
    timeout: float


def rpcs(config: ServiceConfig) -> dict[str, Rpc]:
    """Returns every rpc of the contract by its path, but for streams."""
    files = (shipment_allocation_service_pb2, consignment_allocation_service_pb2, service_group_service_pb2)
    found = {}
    for service in (service for file in files for service in file.DESCRIPTOR.services_by_name.values()):
        for method in service.methods:
            if method.client_streaming or method.server_streaming:
                continue
            path = f"/{service.full_name}/{method.name}"
            found[path] = Rpc(
                path,
                GetMessageClass(method.input_type),
                GetMessageClass(method.output_type),
                "request_id" in method.input_type.fields_by_name,
                config.timeouts[path],
            )
    return found


class Base(ABC):
    """A client of one gateway. It may be used by several threads or tasks at once, and is meant to live long."""

    def __init__(
        self,
        address: str,
        *,
        tls: Tls | None = None,
        plaintext: bool = False,
        token_file: str | os.PathLike[str] | None = None,
        account: str = "",
        metadata: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        service_config: str = SERVICE_CONFIG,
        channel_options: Mapping[str, Any] | None = None,
        interceptors: Sequence[Any] = (),
    ) -> None:
        """Makes ready to call; the connection is made with the first call.

        Args:
            address: `host:port`, or any target of gRPC's. Calls go to all addresses of the host in turn.
            tls: How TLS is done: by default with gRPC's own list of authorities.
            plaintext: Do without TLS, for a sandbox, or where a mesh does it.
            token_file: A file with a bearer token, which is read again within a second of being replaced. A call with
                `authorization` in its metadata, or in that of the client, is sent with that instead.
            account: The account of the gateway that calls are for, unless they say otherwise. Empty, the gateway
                chooses.
            metadata: Sent with each call. Names have no case.
            timeout: The seconds that a call may take with all its repetitions, unless it says otherwise.
            service_config: gRPC's service configuration, JSON; it has to name a time-out for every rpc but streams.
            channel_options: gRPC's channel arguments, which win over those of the client.
            interceptors: gRPC's client interceptors; they see each attempt.

        Raises:
            ValueError: TLS and plaintext were asked for, a token would be sent without TLS, or something cannot be
                sent or is no time.
            OSError: A file cannot be read.
        """
        if plaintext and (tls is not None or token_file is not None):
            raise ValueError("plaintext goes neither with tls nor with token_file: the token could be read on its way")
        config = ServiceConfig.parsed(service_config)
        self._rpcs = rpcs(config)
        self._paths = {rpc.request.DESCRIPTOR.full_name: path for path, rpc in self._rpcs.items()}
        self._token = None if token_file is None else TokenFile(token_file)
        own = {**headers(metadata)}
        named = own.pop(_ACCOUNT, "")
        self._account = _account(account) or named
        self._metadata = tuple(own.items())
        self._is_authorized = _AUTHORIZATION in own
        self._timeout = valid_timeout(timeout)
        self._budget = Budget(config.max_tokens, config.token_ratio)
        credentials = None if plaintext else (tls or Tls()).credentials()
        self._open(address, credentials, channel_arguments(config, tls, channel_options), interceptors)

    @abstractmethod
    def _open(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        options: Sequence[tuple[str, Any]],
        interceptors: Sequence[Any],
    ) -> None:
        """Opens the channel; without TLS if there are no credentials."""

    def call_metadata(self, account: str | None = None) -> tuple[tuple[str, str], ...]:
        """Returns what is sent with each call, the token included: what a stub has to be given."""
        return self._sent({}, self._account_of({}, account))

    def _account_of(self, own: Mapping[str, str], account: str | None) -> str:
        """Returns the account of a call with metadata of its own: that of the call, or else that of the client."""
        return own.get(_ACCOUNT, self._account) if account is None else _account(account)

    def _sent(self, own: Mapping[str, str], account: str) -> tuple[tuple[str, str], ...]:
        """Returns the metadata of an attempt. The gateway refuses two accounts in it, and two authorizations."""
        sent = self._metadata
        is_authorized = self._is_authorized
        if own:
            if _AUTHORIZATION in own:
                is_authorized = True
                sent = tuple(one for one in sent if one[0] != _AUTHORIZATION)
            sent = (*sent, *(one for one in own.items() if one[0] != _ACCOUNT))
        if account:
            sent = (*sent, (_ACCOUNT, account))
        if self._token is None or is_authorized:
            return sent
        return (*sent, (_AUTHORIZATION, f"Bearer {self._token.current()}"))

    def _rpc_of(self, request: Message) -> Rpc:
        path = self._paths.get(request.DESCRIPTOR.full_name)
        if path is None:
            raise TypeError(f"{request.DESCRIPTOR.full_name} is not the request of an rpc")
        return self._rpcs[path]

    def _time_of_read(self, rpc: Rpc, timeout: float | None) -> float:
        """Returns the seconds that a read may take with its repetitions, which are gRPC's own."""
        return min(rpc.timeout, self._timeout) if timeout is None else valid_timeout(timeout)

    def _attempts(self, rpc: Rpc, request: Message, timeout: float | None, account: str) -> Attempts:
        """Begins a write."""
        return self._begun(request, self._timeout if timeout is None else valid_timeout(timeout), rpc.timeout, account)

    def _lasting(self, request: Message, timeout: float, account: str) -> Attempts:
        """Begins a call that lasts."""
        return self._begun(request, valid_timeout(timeout), timeout, account)

    def _begun(self, request: Message, timeout: float, attempt_timeout: float, account: str) -> Attempts:
        return Attempts(
            request,
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            budget=self._budget,
            clock=time.monotonic,
            uniform=random.uniform,
            account=account,
        )


def valid_timeout(timeout: float) -> float:
    """Returns a time that a call may take.

    Raises:
        ValueError: It is none: what may take no time is never sent.
    """
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout has to be a number of seconds more than 0, not {timeout}")
    return timeout


def _account(name: str) -> str:
    return headers({_ACCOUNT: name})[_ACCOUNT]


def named(request: M) -> M:
    """Returns the request of a write with a `request_id`: the request itself if it has one, or else a copy."""
    given: Any = request
    if given.request_id:
        return request
    made: Any = type(request)()
    made.CopyFrom(request)
    made.request_id = str(uuid.uuid4())
    return cast(M, made)


def failed(error: Any) -> Failure:
    """Returns what gRPC's error tells: one that blocks and one that awaits have the same methods."""
    return failure_of(error.code(), error.details(), error.trailing_metadata())

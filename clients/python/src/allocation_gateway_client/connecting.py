"""How a client reaches its gateway: TLS, who it says it is, and how its connections live."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from allocation_gateway_client.policy import ServiceConfig

_USER_AGENT: Final = f"allocation-gateway-client-python/{version('allocation-gateway-client')}"
_KEEPALIVE_TIME: Final = 60_000
_KEEPALIVE_TIMEOUT: Final = 20_000
# A gateway that was restarted is found again within seconds. gRPC alone would wait for up to two minutes.
_FIRST_RECONNECT: Final = 100
_LONGEST_RECONNECT: Final = 5_000
# So that a rollout that replaces all replicas is followed. gRPC alone looks a name up once in 30 s at most.
_SHORTEST_LOOKUP: Final = 1_000
# Answers with labels are the largest there are.
_LARGEST_ANSWER: Final = 32 << 20
_TOKEN_CHECK: Final = 1.0
# What else would be is no value of a header, as gRPC's core finds out only when a call is made.
_TOKEN: Final = re.compile(rb"[!-~]+")
_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Tls:
    """How a client proves the gateway's identity and, with mutual TLS, its own.

    The files are read once, by the client that is made with it: one whose files were replaced needs a new client.

    Attributes:
        ca_file: The authorities to trust, PEM; None for those of gRPC's own list.
        certificate_file: The client's certificate chain, PEM; None without mutual TLS.
        key_file: Its private key, PEM.
        server_name: The name that the gateway's certificate has; empty for the host that is called.
    """

    ca_file: str | os.PathLike[str] | None = None
    certificate_file: str | os.PathLike[str] | None = None
    key_file: str | os.PathLike[str] | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            ValueError: There is a certificate without a key, or a key without a certificate.
            OSError: A file cannot be read.
        """
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        return grpc.ssl_channel_credentials(_read(self.ca_file), _read(self.key_file), _read(self.certificate_file))


def _read(file: str | os.PathLike[str] | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


class TokenFile:
    """A bearer token in a file that may be replaced at any time, as Kubernetes does with projected tokens."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        """Reads the file.

        Raises:
            OSError: It cannot be read.
            ValueError: It is empty, or is not a token.
        """
        self._file = Path(file)
        self._token = self._read()
        self._read_at = time.monotonic()
        self._lock = threading.Lock()

    def current(self) -> str:
        """Returns the token of at most a second ago; the one before it while the file cannot be read or has none."""
        now = time.monotonic()
        if now - self._read_at >= _TOKEN_CHECK:
            with self._lock:
                self._read_at = now
                with suppress(OSError, ValueError):
                    self._token = self._read()
        return self._token

    def _read(self) -> str:
        token = self._file.read_bytes().strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"The token file {self._file} is empty, or is not a token: one line of visible ASCII")
        return token.decode("ascii")


def headers(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """Returns metadata as it is sent: names have no case.

    Raises:
        ValueError: Something in it cannot be sent. The text does not have the value, which may be a secret.
    """
    if not given:
        return {}
    found = {name.lower(): value for name, value in given.items()}
    for name, value in found.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} cannot be sent as metadata")
        if not name.endswith("-bin") and not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} cannot be sent as metadata: it has to be printable ASCII")
    return found


def channel_arguments(
    config: ServiceConfig, tls: Tls | None, own: Mapping[str, Any] | None
) -> Sequence[tuple[str, Any]]:
    """Returns the arguments of a channel; a caller's own come last and win."""
    options: dict[str, Any] = {
        "grpc.service_config": config.text,
        "grpc.primary_user_agent": _USER_AGENT,
        "grpc.keepalive_time_ms": _KEEPALIVE_TIME,
        "grpc.keepalive_timeout_ms": _KEEPALIVE_TIMEOUT,
        "grpc.initial_reconnect_backoff_ms": _FIRST_RECONNECT,
        "grpc.min_reconnect_backoff_ms": _FIRST_RECONNECT,
        "grpc.max_reconnect_backoff_ms": _LONGEST_RECONNECT,
        "grpc.dns_min_time_between_resolutions_ms": _SHORTEST_LOOKUP,
        "grpc.max_receive_message_length": _LARGEST_ANSWER,
    }
    if tls is not None and tls.server_name:
        options["grpc.ssl_target_name_override"] = tls.server_name
    return [*(options | dict(own or {})).items()]

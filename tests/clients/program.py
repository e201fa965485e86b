"""How programs of the tests of clients are run: each has the options of its client, and makes the calls it is told."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from support.certificates import Authority

_STOP: Final = 10.0


@contextmanager
def calling(command: Sequence[str], address: str, **options: Any) -> Iterator[Callable[..., str]]:
    """Runs a program; what it gives makes a call and returns what came of it.

    Args:
        command: How it is run.
        address: Whom it calls.
        options: Those of its client.
    """
    told = json.dumps({"address": address, **options})
    with subprocess.Popen([*command, told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def call(**of_call: Any) -> str:
            stdin.write(json.dumps(of_call) + "\n")
            stdin.flush()
            return stdout.readline().strip()

        try:
            yield call
        finally:
            stdin.close()
            process.wait(_STOP)


class MutualTls(NamedTuple):
    """A gateway that asks for certificates, and what its callers have.

    Attributes:
        settings: Those of the gateway.
        trusted: The authority alone, which proves nothing of a caller.
        proved: That, and a certificate of the caller's own.
    """

    settings: Mapping[str, str]
    trusted: Mapping[str, str]
    proved: Mapping[str, str]


def mutual_tls(authority: Authority) -> MutualTls:
    """Issues certificates for a gateway and its callers."""
    certificate, key = authority.issue("gateway")
    own_certificate, own_key = authority.issue("client")
    settings = {
        "TLS_CERT_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "TLS_CLIENT_CA_FILE": str(authority.file),
    }
    trusted = {"ca": str(authority.file)}
    return MutualTls(settings, trusted, {**trusted, "cert": str(own_certificate), "key": str(own_key)})

"""What is wrong with a Valkey or Redis server that cannot be used, in one line."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

from redis import exceptions

from allocation_gateway.settings import server_url
from allocation_gateway.settings.password_files import PasswordFileError
from allocation_gateway.settings.server_url import ServerUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.settings import Secret

# OpenSSL's numbers for a certificate that is of another name, or of another address.
_OTHER_NAMES: Final = frozenset({62, 64})
_EXPIRED: Final = 10
_NOT_YET: Final = 9
_NAME_CERTIFICATE: Final = "name it by ssl_certfile and ssl_keyfile in the URL"
# What servers say of a command that their rights refuse within a script, where it is no error of its own kind.
_WITHIN_SCRIPT: Final = re.compile("user executing the script can't|ACL failure in script")
# What whoever has named one server is told that is part of a cluster.
_CLUSTERS_URL: Final = "the URL of a cluster begins with redis+cluster:// or rediss+cluster://"
_NO_CLUSTERS: Final = "a cluster can only be used for claims: name a server that is no part of one, or its Sentinels"
_WANTS_CERTIFICATE: Final = f"{{}} wants a certificate of the client: {_NAME_CERTIFICATE}"


class ServerProblem(NamedTuple):
    """Why a server cannot be used.

    Attributes:
        kind: One word for metrics and log lines, such as `address`, `tls` or `credentials`.
        text: One line for the operator: what is wrong, and what to do. It never holds the password.
        is_lasting: Whether a gateway must not start with it: it takes somebody to change what the URL says, or what the
            server knows of its user. Certificates are replaced while the gateway runs.
    """

    kind: str
    text: str
    is_lasting: bool = False


class NoPrimaryError(exceptions.ConnectionError):
    """The Sentinels, or the nodes of a cluster, do not tell which server to write to. The text says why."""

    def __init__(self, text: str, *, kind: str = "sentinel", is_lasting: bool = False) -> None:
        super().__init__(text)
        self.kind = kind
        self.is_lasting = is_lasting


def diagnose(error: BaseException, url: Secret | ServerUrl, *, takes_clusters: bool = True) -> ServerProblem:
    """Returns what is wrong with a server, from the error with which a command or a connection has failed.

    Args:
        error: The error.
        url: Where the server is.
        takes_clusters: Whether what uses the server could also be given the URL of a cluster.
    """
    target = url if isinstance(url, ServerUrl) else server_url.parse(url.reveal())
    if isinstance(error, NoPrimaryError):
        return ServerProblem(error.kind, str(error), is_lasting=error.is_lasting)
    clusters_url = _CLUSTERS_URL if takes_clusters else _NO_CLUSTERS
    for cause in _causes(error):
        problem = _of_tls(cause, target) or _of_network(cause, target) or _of_cluster(cause, target, clusters_url)
        if problem := problem or _of_answer(cause, target):
            return problem
    return ServerProblem(type(error).__name__, f"{target.address} cannot be used: {type(error).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and what led to it, the origin first: the library wraps what the system says."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        # That a script is not known yet, or that a slot is elsewhere or on its way, is the usual course: what has
        # failed is what was done about it, unless the slot is still what was answered last.
        is_followed = isinstance(cause, exceptions.AskError | exceptions.TryAgainError) and cause is not error
        if not is_followed and not isinstance(cause, exceptions.NoScriptError):
            chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    yield from reversed(chain)


def _of_tls(error: BaseException, target: ServerUrl) -> ServerProblem | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerProblem("tls", _of_certificate(error, target))
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or type(error).__name__
    if "CERTIFICATE_REQUIRED" in reason:
        # In TLS 1.3, the client has connected by then, and whether it sees this alert or only a closed connection is
        # a matter of chance: it has to be the same kind of problem.
        return ServerProblem("connection", _WANTS_CERTIFICATE.format(target.address))
    if "HANDSHAKE_FAILURE" in reason:
        return ServerProblem("tls", _WANTS_CERTIFICATE.format(target.address))
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        text = f"{target.address} does not speak TLS: use redis:// if that is meant, or the server's port for TLS"
        return ServerProblem("tls", text)
    return ServerProblem("tls", f"TLS with {target.address} failed: {reason}")


def _of_certificate(error: ssl.SSLCertVerificationError, target: ServerUrl) -> str:
    if error.verify_code in _OTHER_NAMES:
        return f"the certificate of {target.address} is not one for {target.host}: name the server as it does"
    if error.verify_code in {_EXPIRED, _NOT_YET}:
        return f"the certificate of {target.address} is not valid now: {error.verify_message}"
    return (
        f"the certificate of {target.address} is not trusted: {error.verify_message}; "
        "name the file of its authority by ssl_ca_certs in the URL"
    )


def _of_network(error: BaseException, target: ServerUrl) -> ServerProblem | None:
    if isinstance(error, socket.gaierror | UnicodeError):
        return ServerProblem("name", f"the name {target.host} cannot be resolved")
    if isinstance(error, ConnectionRefusedError):
        return ServerProblem("address", f"nothing listens on {target.address}")
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        hint = ", or does not speak TLS" if target.is_tls else ""
        return ServerProblem("timeout", f"{target.address} did not answer in time{hint}")
    if isinstance(error, ConnectionError):
        return _closed(target)
    if isinstance(error, PasswordFileError):
        return ServerProblem("credentials", f"the password file {error.filename} cannot be used: {error.strerror}")
    if isinstance(error, FileNotFoundError | PermissionError):
        return ServerProblem("tls", f"a file that the URL names cannot be read: {error.strerror}")
    if isinstance(error, OSError):
        return ServerProblem("address", f"{target.address} cannot be reached: {error.strerror or type(error).__name__}")
    return None


def _of_answer(error: BaseException, target: ServerUrl) -> ServerProblem | None:
    """Reads what the server has answered."""
    # Where it does not know AUTH or HELLO by their names, it would quote what they were given: the password.
    text = str(error).partition(", with args beginning with")[0]
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthenticationWrongNumberOfArgsError):
        return ServerProblem("credentials", _of_credentials(target), is_lasting=True)
    if isinstance(error, exceptions.NoPermissionError):
        told = text.partition(" has no permissions ")[2] or text
        lacking = f"the user of the URL lacks rights on the server: no permissions {told}"
        return ServerProblem("rights", lacking, is_lasting=True)
    if isinstance(error, exceptions.ReadOnlyError):
        return ServerProblem("role", f"{target.address} is a replica, which takes no writes: name the primary")
    if isinstance(error, exceptions.BusyLoadingError):
        return ServerProblem("loading", f"{target.address} is still loading its data; it is retried")
    if isinstance(error, exceptions.OutOfMemoryError):
        return ServerProblem("memory", f"{target.address} is full: it needs more maxmemory")
    if isinstance(error, exceptions.ResponseError):
        return _of_response(text, target)
    if isinstance(error, exceptions.InvalidResponse):
        return ServerProblem("protocol", f"what answers at {target.address} is not a Valkey or Redis server")
    if isinstance(error, exceptions.ConnectionError):
        if "max number of clients" in text:
            return ServerProblem("connection", f"{target.address} has as many clients as its maxclients allows")
        if "Connection closed" in text:
            return _closed(target)
    return None


def _closed(target: ServerUrl) -> ServerProblem:
    hint = ""
    if not target.is_tls:
        hint = "; a port for TLS needs rediss://"
    elif "ssl_certfile" not in target.options:
        hint = f"; if the server wants a certificate of the client, {_NAME_CERTIFICATE}"
    return ServerProblem("connection", f"the connection to {target.address} was closed{hint}")


def _of_cluster(error: BaseException, target: ServerUrl, clusters_url: str) -> ServerProblem | None:
    text = str(error)
    # Whoever names one server follows no slot to another one.
    hint = clusters_url
    if target.is_clustered:
        hint = f"look at the slots with CLUSTER NODES, or with redis-cli --cluster check {target.address}"
    if isinstance(error, exceptions.ClusterError) and not isinstance(error, exceptions.MasterDownError):
        down = text.rpartition("CLUSTERDOWN ")[2]
        return ServerProblem("cluster", f"the cluster of {target.address} is down: {down}; {hint}")
    if isinstance(error, exceptions.AskError | exceptions.TryAgainError):
        where = _of_slot(error, target) if target.is_clustered else f"{target.address} is part of a cluster"
        return ServerProblem("cluster", f"{where}; {hint}")
    if "cluster support disabled" in text:
        text = f"{target.address} is not a node of a cluster: a URL of one server begins with redis:// or rediss://"
        return ServerProblem("cluster", text, is_lasting=True)
    return None


def _of_slot(error: exceptions.AskError | exceptions.TryAgainError, target: ServerUrl) -> str:
    """Says why no node of a cluster has carried out a step, wherever it was sent on to."""
    if isinstance(error, exceptions.TryAgainError):
        return f"{target.address} is moving a slot to another node, and neither has all keys of the step (TRYAGAIN)"
    # A node that does not know its own host leaves it out.
    there = target.at(error.host or target.host, error.port).address
    if isinstance(error, exceptions.MovedError):
        return (
            f"the nodes of the cluster disagree about which of them has slot {error.slot_id}: "
            f"the step was redirected too often (MOVED), last to {there}"
        )
    return (
        f"slot {error.slot_id} is being moved to another node of the cluster: "
        f"the step was redirected too often (ASK), last to {there}"
    )


def _of_credentials(target: ServerUrl) -> str:
    if target.password or target.password_file:
        return "the server refuses the credentials of the URL: its user name or its password is wrong"
    return "the server refuses the credentials of the URL: it wants a password, and the URL has none"


def _of_response(text: str, target: ServerUrl) -> ServerProblem:
    if "DB index" in text or "db index" in text or "SELECT is not allowed" in text:
        return ServerProblem("database", f"the server has no database {target.database}", is_lasting=True)
    if _WITHIN_SCRIPT.search(text):
        lacking = "the user of the URL lacks rights on the server: no permissions to run a command of the script"
        return ServerProblem("rights", lacking, is_lasting=True)
    if text.startswith("MISCONF"):
        return ServerProblem("persistence", "the server cannot write to its disk, and takes no writes meanwhile")
    if text.startswith("NOREPLICAS"):
        return ServerProblem(
            "persistence", "the server has fewer replicas than min-replicas-to-write, and takes no writes"
        )
    return ServerProblem("answer", f"the server answers: {text}")

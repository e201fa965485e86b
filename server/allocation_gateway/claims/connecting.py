"""Makes a connection that steps can be asked on: connected, logged in, and to a server that may keep claims."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from importlib import resources
from typing import TYPE_CHECKING, Final

import structlog
from aiohappyeyeballs import start_connection
from redis.exceptions import NoScriptError

from allocation_gateway.claims import checks
from allocation_gateway.claims.connection import StoreConnection
from allocation_gateway.claims.patience import PatientLimit
from allocation_gateway.pooling import tls_context

if TYPE_CHECKING:
    from allocation_gateway.settings.server_url import ServerUrl

_FILES: Final = resources.files(__package__)
_HEAD: Final = _FILES.joinpath("head.lua").read_text()
# What carries out the steps on one server, and on a cluster.
SCRIPT: Final = _HEAD + _FILES.joinpath("steps.lua").read_text()
SLOTS_SCRIPT: Final = _HEAD + _FILES.joinpath("slots.lua").read_text()
# Seconds after which a further address of a name is tried beside one that does not answer, as RFC 8305 advises.
_NEXT_ADDRESS: Final = 0.25
_log = structlog.get_logger()


class Connector:
    """Makes connections.

    Attributes:
        sha: What the server calls the script.
    """

    def __init__(self, *, timeout: float, checks: str, namespace: str | None, script: str) -> None:
        """Takes what all connections have in common.

        Args:
            timeout: Seconds without a sign of a server that owes an answer, after which it is given up.
            checks: What becomes of a server that is not safe: `require`, `warn` or `off`.
            namespace: What the names of all keys begin with; None if the script is tried without any key.
            script: What carries out the steps.
        """
        self._timeout = timeout
        self._checks = checks
        prefix = f"{namespace}:"
        on_key = ("1", f"{prefix}trial", "trial", prefix, "trial")
        self._trial = ("0", "trial") if namespace is None else on_key
        self._script = script
        # A name that the server gives the script, not a safeguard.
        self.sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._warned = ""

    async def connect(self, target: ServerUrl) -> StoreConnection:
        """Makes a connection to a server that can carry out steps now, and knows the script.

        Raises:
            UnsafeServerError: The server may lose claims, and the checks do not allow that.
            RedisError: It has answered an error, or closed the connection.
            OSError: It cannot be reached. That it does not answer in time is a TimeoutError.
        """
        connection = await self._connected(target)
        try:
            await self._prepare(connection, target)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def reach(self, target: ServerUrl) -> StoreConnection:
        """Makes a connection to a server on which questions alone are asked: it need not be fit to carry out steps.

        Raises:
            Exception: As of `connect`.
        """
        connection = await self._connected(target)
        try:
            await asyncio.gather(*(connection.ask(*command) for command in await _login(target)))
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connected(self, target: ServerUrl) -> StoreConnection:
        loop = asyncio.get_running_loop()
        options = target.options
        context = await asyncio.to_thread(tls_context, target) if target.is_tls else None
        silence = min(self._timeout, options.get("socket_timeout", self._timeout))
        with PatientLimit(options.get("socket_connect_timeout", self._timeout)):
            addresses = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            made = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1, loop=loop)
            if options.get("socket_keepalive"):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await loop.create_connection(
                lambda: StoreConnection(loop, silence=silence),
                sock=made,
                ssl=context,
                server_hostname=target.host if context else None,
            )
        return connection

    async def _prepare(self, connection: StoreConnection, target: ServerUrl) -> None:
        """Logs in, checks the server, and has it try the script, all in one exchange if it knows the script."""
        login = await _login(target)
        asked = checks.COMMANDS if self._checks != "off" else ()
        commands = (*login, *asked, ("EVALSHA", self.sha, *self._trial))
        answers = await asyncio.gather(*(connection.ask(*command) for command in commands), return_exceptions=True)
        for answer in answers[: len(login)]:
            if isinstance(answer, BaseException):
                raise answer
        problem = checks.check(answers[len(login) : -1]) if asked else ""
        if isinstance(answers[-1], NoScriptError):
            await connection.ask("EVAL", self._script, *self._trial)
        elif isinstance(answers[-1], BaseException):
            raise answers[-1]
        self._judge(problem)

    def _judge(self, problem: str) -> None:
        if problem and self._checks == "require":
            raise checks.UnsafeServerError(f"the server {problem}")
        if problem and problem != self._warned:
            _log.warning("claim_store_unsafe", problem=problem)
        self._warned = problem


async def _login(target: ServerUrl) -> tuple[tuple[str | int, ...], ...]:
    """Returns the commands with which a connection begins."""
    if target.password_file:
        # It is read anew: a password is replaced while the gateway runs.
        target = await asyncio.to_thread(target.with_password)
    commands: list[tuple[str | int, ...]] = []
    credentials = (target.username, target.password) if target.username else (target.password,)
    is_named = bool(target.username or target.password)
    if target.options.get("protocol") == 3:
        named = ("AUTH", target.username or "default", target.password) if is_named else ()
        commands.append(("HELLO", 3, *named))
    elif is_named:
        commands.append(("AUTH", *credentials))
    if "client_name" in target.options:
        commands.append(("CLIENT", "SETNAME", target.options["client_name"]))
    if target.database:
        commands.append(("SELECT", target.database))
    return tuple(commands)

"""The Valkey or Redis server that keeps the claims of all processes: how it is reached, and whether it may be trusted.

A server that evicts keys, or forgets them over a restart, forgets writes that are in doubt. So it is asked before it is
used, and again after its connections were lost: another one may be there then.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.pooling import Problem, diagnose, open_pool

if TYPE_CHECKING:
    from allocation_gateway.settings import Secret
    from allocation_gateway.telemetry.telemetry import Telemetry

SCRIPT: Final = resources.files(__package__).joinpath("steps.lua").read_text()
# The last one is uvloop's, of a connection that was closed under the client's hands.
_FAILURES: Final = (RedisError, OSError, TimeoutError, RuntimeError)
_log = structlog.get_logger()


class UnusableServerError(Exception):
    """The server cannot be used as it is configured. The text says why, for the operator."""


class UnsafeServerError(UnusableServerError):
    """The server may lose claims, which the checks do not allow."""


class ClaimServer:
    """The connections to the server, which all stores share."""

    def __init__(
        self,
        url: Secret,
        *,
        timeout: float,
        connections: int,
        checks: str,
        telemetry: Telemetry,
        script: str = SCRIPT,
    ) -> None:
        """Does not connect yet.

        Args:
            url: Where the server is, with its credentials.
            timeout: Seconds that one step may take, with the wait for a connection.
            connections: How many connections there may be.
            checks: What becomes of a server that is not safe: `require`, `warn` or `off`.
            telemetry: Where steps are counted and timed.
            script: What carries out the steps.

        Raises:
            ValueError: The URL is none of a server.
        """
        self._url = url
        self._pool = open_pool(url, connections=connections, timeout=timeout)
        self._client: Any = Redis(connection_pool=self._pool)
        self._timeout = timeout
        self._checks = checks
        self._telemetry = telemetry
        self._script = script
        # A name that the server gives the script, not a safeguard.
        self._sha = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._checked = checks == "off"
        self._usable = False
        self._told: set[str] = set()

    async def open(self) -> None:
        """Makes the first contact. A server that cannot be reached is asked again by the first step that reaches it.

        Raises:
            UnusableServerError: It cannot be used, or may not be, until somebody changes a configuration.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._check()
        except _FAILURES as error:
            problem = self._failed("check", error)
            if problem.is_lasting:
                raise UnusableServerError(problem.text) from None

    async def run(self, step: str, key: str, *arguments: str | bytes | int) -> Any:
        """Carries out a step.

        Args:
            step: Its name.
            key: The key of the claim.
            arguments: What the script takes after the step's name.

        Raises:
            StoreUnavailableError: The server could not be asked, did not answer in time, or must not be used. The step
                may or may not have been carried out.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                if not self._checked:
                    await self._check()
                try:
                    found = await self._client.execute_command("EVALSHA", self._sha, 1, key, step, *arguments)
                except NoScriptError:
                    found = await self._client.execute_command("EVAL", self._script, 1, key, step, *arguments)
        except UnsafeServerError as error:
            self._failed(step, error)
            raise StoreUnavailableError(f"{step}: {error}") from None
        except _FAILURES as error:
            self._failed(step, error)
            # The text of the error can hold the address with its password: only its kind is told.
            raise StoreUnavailableError(f"{step}: {_kind(error)}") from None
        self._telemetry.metrics.store_step(step, time.perf_counter() - started)
        self._set_usable()
        return found

    async def _check(self) -> None:
        if self._checked:
            return
        problem = await self._problem()
        if problem and self._checks == "require":
            raise UnsafeServerError(f"the server {problem}")
        if problem:
            _log.warning("claim_store_unsafe", problem=problem)
        self._checked = True

    async def _problem(self) -> str:
        """Returns what is wrong with the server; nothing if it keeps what it is given."""
        try:
            memory: dict[str, Any] = await self._client.info("memory")
            persistence: dict[str, Any] = await self._client.info("persistence")
            replication: dict[str, Any] = await self._client.info("replication")
        except NoPermissionError:
            return "does not let its INFO be read: the user of the URL needs +info"
        if replication.get("role") == "slave":
            return f"is a replica, which takes no writes: name the primary, {_primary(replication)}"
        policy = memory.get("maxmemory_policy", "unknown")
        if policy != "noeviction":
            return f"has the maxmemory-policy {policy}, which must be noeviction"
        return "" if persistence.get("aof_enabled") else "keeps no append-only file (appendonly yes)"

    def _failed(self, step: str, error: Exception) -> Problem:
        """Takes note of a step that has failed. Returns what is wrong with the server."""
        if isinstance(error, RedisConnectionError) and self._checks != "off":
            self._checked = False
        is_unsafe = isinstance(error, UnsafeServerError)
        problem = Problem("unsafe", str(error)) if is_unsafe else diagnose(error, self._url)
        self._telemetry.metrics.store_failure(step, problem.kind)
        # Each kind once: a server that first could not be reached can then turn out to refuse the credentials.
        if problem.kind not in self._told:
            self._told.add(problem.kind)
            _log.warning("claim_store_not_usable", reason=problem.kind, problem=problem.text)
        self._usable = False
        return problem

    def _set_usable(self) -> None:
        if not self._usable:
            self._usable = True
            self._told.clear()
            _log.info("claim_store_usable")

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()
        await self._pool.disconnect()


def _primary(replication: dict[str, Any]) -> str:
    return f"{replication.get('master_host', 'unknown')}:{replication.get('master_port', 'unknown')}"


def _kind(error: Exception) -> str:
    return "timeout" if isinstance(error, TimeoutError | RedisTimeoutError) else type(error).__name__

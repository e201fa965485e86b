"""The Valkey or Redis server that keeps the claims of all processes: carries out steps, and says why it cannot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from allocation_gateway.claims.checks import ReplicaError, UnsafeServerError, UnusableServerError
from allocation_gateway.claims.connecting import SCRIPT, Connector
from allocation_gateway.claims.health import StoreHealth, is_not_here
from allocation_gateway.claims.link import FAILURES, PrimaryLink
from allocation_gateway.claims.primary import locator
from allocation_gateway.settings import server_url

if TYPE_CHECKING:
    from allocation_gateway.claims.connection import StoreConnection
    from allocation_gateway.settings import Secret
    from allocation_gateway.telemetry.telemetry import Telemetry

# How often a step is asked for that was certainly not carried out: the script may be unknown on the next server too.
_TRIES: Final = 3


class ClaimServer:
    """The connection to the server, which all stores share."""

    def __init__(
        self,
        url: Secret,
        *,
        timeout: float,
        checks: str,
        namespace: str,
        telemetry: Telemetry,
        script: str = SCRIPT,
    ) -> None:
        """Does not connect yet.

        Args:
            url: Where the server is, with its credentials.
            timeout: Seconds that a step may wait for a connection, and then for a sign of the server.
            checks: What becomes of a server that is not safe: `require`, `warn` or `off`.
            namespace: What the names of all keys begin with.
            telemetry: Where steps are counted and timed.
            script: What carries out the steps.

        Raises:
            ValueError: The URL is none of a server.
        """
        self._url = server_url.parse(url.reveal())
        self._timeout = timeout
        self._checks = checks
        self._health = StoreHealth(self._url, telemetry)
        self._script = script
        connector = Connector(timeout=timeout, checks=checks, namespace=namespace, script=script)
        self._sha = connector.sha
        self._link = PrimaryLink(
            locator(self._url, timeout=timeout),
            connector.connect,
            timeout=timeout,
            on_failure=self._health.not_connected,
            on_contact=self._health.contact,
        )

    async def open(self) -> None:
        """Makes the first contact: whoever connected only with the first calls would be too busy with them for that.

        A server that cannot be reached is no failure; if no checks are wanted, nothing is.

        Raises:
            UnusableServerError: It cannot be used, or may not be, until somebody changes a configuration.
        """
        failure: Exception | None = None
        try:
            await self._link.connected(time.monotonic() + self._timeout)
        except FAILURES as error:
            failure = error
        if failure is None or self._checks == "off":
            return
        problem = self._health.first_contact_failed(failure, self._link.target)
        if isinstance(failure, UnusableServerError):
            raise failure
        if isinstance(failure, ReplicaError) and self._checks == "require" and not self._url.sentinels:
            raise UnsafeServerError(f"the server is a replica, which takes no writes: name the primary, {failure}")
        if problem.is_lasting:
            raise UnusableServerError(problem.text)

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
        connection = self._link.connection
        try:
            if connection is None or not connection.is_open:
                connection = await self._link.connected(time.monotonic() + self._timeout)
            found = await connection.ask("EVALSHA", self._sha, 1, key, step, *arguments)
        except exceptions.RedisError as error:
            found = await self._again(error, connection, step, key, arguments)
        except FAILURES as error:
            raise self._health.failed(step, error, self._link.target) from None
        self._health.carried_out(step, time.perf_counter() - started)
        return found

    async def _again(
        self,
        error: Exception,
        connection: StoreConnection | None,
        step: str,
        key: str,
        arguments: tuple[str | bytes | int, ...],
    ) -> Any:
        """Asks for a step once more that was certainly not carried out, of the primary as it is found anew."""
        until = time.monotonic() + self._timeout
        for _ in range(_TRIES):
            how = ("EVALSHA", self._sha)
            try:
                if connection is None:
                    break
                if isinstance(error, exceptions.NoScriptError):
                    how = ("EVAL", self._script)
                elif is_not_here(error):
                    self._link.leave(connection)
                else:
                    break
                if not connection.is_open:
                    connection = None
                    connection = await self._link.connected(until)
                return await connection.ask(*how, 1, key, step, *arguments)
            except FAILURES as failure:
                error = failure
        raise self._health.failed(step, error, self._link.target)

    def renew(self) -> None:
        """Makes a new connection in place of the one that there is."""
        self._link.renew()

    async def close(self) -> None:
        """Closes all connections."""
        await self._link.close()

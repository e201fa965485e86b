"""Whether the store can be used, and what is said of it in log lines, metrics and errors."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import structlog
from redis import exceptions

from allocation_gateway.claims.checks import UnsafeServerError
from allocation_gateway.claims.model import StoreUnavailableError
from allocation_gateway.server_diagnosis import ServerProblem, diagnose

if TYPE_CHECKING:
    from allocation_gateway.settings.server_url import ServerUrl
    from allocation_gateway.telemetry.telemetry import Telemetry

# What a server answers that is not the one to write to, or not ready. It has certainly not carried out the step.
_NOT_HERE: Final = (
    exceptions.AuthenticationError,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.ReadOnlyError,
)
_NOT_HERE_EITHER: Final = ("BUSY ", "NOREPLICAS ")
# Seconds for which it counts that a step other than `begin` has failed, if it is not carried out meanwhile; and without
# a failed step, after which a connection alone is enough to call the store usable again: a server that can be reached
# and refuses each step is not.
_REMEMBERED: Final = 10.0
_log = structlog.get_logger()


class StoreHealth:
    """What is known of the store, told once each time that it changes."""

    def __init__(self, url: ServerUrl, telemetry: Telemetry, *, failure_free_seconds: float = 0.0) -> None:
        """Knows nothing yet.

        Args:
            url: Where the store is.
            telemetry: Where steps are counted.
            failure_free_seconds: Seconds without a failure after which it is usable again. Where several servers keep
                it, steps are carried out at one while they fail at another.
        """
        self._url = url
        self._telemetry = telemetry
        self._failure_free_seconds = failure_free_seconds
        self._failed_at = -math.inf
        self._step_failed_at = -math.inf
        self._is_usable = False
        # When each step failed that was not carried out since.
        self._failing: dict[str, float] = {}
        self._told: set[str] = set()

    def problem(self, error: BaseException, target: ServerUrl | None) -> ServerProblem:
        """Returns what is wrong, from an error with which something has failed at a server; at the URL's if None."""
        if isinstance(error, UnsafeServerError):
            return ServerProblem("unsafe", str(error))
        return diagnose(error, target or self._url)

    def failed(self, step: str, error: BaseException, target: ServerUrl | None) -> StoreUnavailableError:
        """Records a failed step. Returns the error for it, with only the kind of the failure, and no address."""
        problem = self.problem(error, target)
        self._telemetry.metrics.store_failure(step, problem.kind)
        self._tell(problem)
        self._step_failed_at = self._failed_at
        self._failing[step] = self._failed_at
        told = str(error) if isinstance(error, UnsafeServerError) else _kind(error)
        return StoreUnavailableError(f"{step}: {told}")

    def not_connected(self, error: BaseException, target: ServerUrl | None) -> bool:
        """Records an attempt to connect that has failed. Returns whether that lasts until somebody acts."""
        problem = self.problem(error, target)
        self._tell(problem)
        return problem.is_lasting

    def first_contact_failed(self, error: BaseException, target: ServerUrl | None) -> ServerProblem:
        """Records that the store cannot be used when the process starts. Returns what is wrong."""
        problem = self.problem(error, target)
        self._telemetry.metrics.store_failure("check", problem.kind)
        return problem

    def carried_out(self, step: str, seconds: float) -> None:
        """Records a step that was carried out."""
        self._telemetry.metrics.store_step(step, seconds)
        if self._is_usable:
            return
        self._failing.pop(step, None)
        if time.monotonic() >= self._failed_at + self._failure_free_seconds and not self._is_failing():
            self._tell_usable()

    def contact(self) -> None:
        """Records that a server was reached and checked. A process that has nothing to write learns by that alone."""
        if self._is_usable:
            return
        if self._failed_at == -math.inf:
            # The log tells of it when the first step is carried out.
            self._telemetry.metrics.store_usable(usable=True)
        elif time.monotonic() >= max(self._failed_at + self._failure_free_seconds, self._step_failed_at + _REMEMBERED):
            self._tell_usable()

    def _tell_usable(self) -> None:
        self._is_usable = True
        self._failing.clear()
        self._told.clear()
        self._telemetry.metrics.store_usable(usable=True)
        _log.info("claim_store_usable")

    def _is_failing(self) -> bool:
        """Tells whether a step is still refused: a server that is full, or refuses a right, carries out others.

        That no claim can be begun is over when one is. The others are rarer, and not waited for for ever.
        """
        since = time.monotonic() - _REMEMBERED
        return any(step == "begin" or failed_at > since for step, failed_at in self._failing.items())

    def _tell(self, problem: ServerProblem) -> None:
        # Each kind once: a server that first could not be reached can then turn out to refuse the credentials.
        if problem.kind not in self._told:
            self._told.add(problem.kind)
            _log.warning("claim_store_not_usable", reason=problem.kind, problem=problem.text)
        self._is_usable, self._failed_at = False, time.monotonic()
        self._telemetry.metrics.store_usable(usable=False)


def is_not_here(error: BaseException) -> bool:
    """Tells whether a server has answered that it is not the one to write to, or not ready."""
    return isinstance(error, _NOT_HERE) or str(error).startswith(_NOT_HERE_EITHER)


def _kind(error: BaseException) -> str:
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return "timeout"
    return "ConnectionError" if isinstance(error, OSError) else type(error).__name__

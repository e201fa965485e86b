"""Sends the attempts of one write, each with a permit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from allocation_gateway.errors import GatewayError
from allocation_gateway.protection.model import Kind, Verdict
from allocation_gateway.upstream.client import Exchange
from allocation_gateway.upstream.http import Attempt

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway.account import Account
    from allocation_gateway.protection.protection import Permit
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.claim_handle import ClaimHandle
    from allocation_gateway.writes.request import WriteRequest


class Reply(NamedTuple):
    """What came of an attempt.

    Attributes:
        outcome: The response, or the error in its place.
        retry_after: Seconds for which upstream asks to be left alone; 0 if it does not.
    """

    outcome: Message | GatewayError
    retry_after: float


class Sender:
    """The attempts of one write, and the permit for the next one.

    Attributes:
        attempt: The last attempt; None if there was none.
        attempts: How many were made.
    """

    __slots__ = ("_account", "_permit", "attempt", "attempts")

    def __init__(self, account: Account) -> None:
        self._account = account
        self._permit: Permit | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0

    @property
    def may_have_sent(self) -> bool:
        """Whether the last attempt may have left this process."""
        return self.attempt is not None and self.attempt.sent

    async def admit(self, deadline: float) -> None:
        """Waits for a permit, unless there is one.

        Raises:
            GatewayError: There is none to be had in time.
        """
        if self._permit is None:
            self._permit = await self._account.protection.enter(Kind.WRITE, deadline)

    def give_back(self) -> None:
        """Gives the permit back that is not needed, if there is one."""
        if self._permit is not None:
            self._permit.leave(Verdict.NONE)
            self._permit = None

    async def send(
        self, request: WriteRequest, message: Any, handle: ClaimHandle, observation: Observation, deadline: float
    ) -> Reply:
        """Makes one attempt, with the permit that there is.

        Args:
            request: The write.
            message: The request message, of what is still without effect.
            handle: The claim under which it is sent.
            observation: The call, as telemetry sees it.
            deadline: Until when somebody waits, by the event loop's clock.
        """
        permit, self._permit = self._permit, None
        if permit is None:
            raise AssertionError("a write is sent with a permit")
        account, operation = self._account, request.operation
        self.attempt = attempt = Attempt(handle.send_by, account.now)
        self.attempts += 1
        exchange = Exchange(attempt, observation, deadline)
        outcome: Message | GatewayError
        try:
            outcome = await account.upstream.call(operation, request.route, message, exchange)
        except GatewayError as error:
            outcome = error
        finally:
            account.ended(operation, exchange, permit)
        if attempt.sent:
            handle.sent(account.settle_time(operation))
        return Reply(outcome, exchange.retry_after)

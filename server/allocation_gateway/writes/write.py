"""One write, from its claim to its end: which phase it is in, and what follows.

The claim is made before anything is sent. A refusal of upstream's own ends the write; whatever else comes of an attempt
leaves it in doubt, and then it is read what became of it. It is sent again only when nothing that was sent before can
still take effect, and reading shows that nothing did. docs/architecture.md has a diagram of the phases.

What is done in each phase is decided elsewhere: WAITING in acquisition.py, HELD and SENDING in attempt.py, IN DOUBT in
recovery.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.model import Action
from allocation_gateway.writes import attempt, errors, recovery, resolution
from allocation_gateway.writes.acquisition import Acquisition
from allocation_gateway.writes.attempt import Answered, InDoubt, Refused, Unconfirmed
from allocation_gateway.writes.callers import Callers
from allocation_gateway.writes.context import WriteContext
from allocation_gateway.writes.phases import Phase, Progress
from allocation_gateway.writes.request import WriteResult
from allocation_gateway.writes.sender import BatchedSender, Sender

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.claimed import ClaimedWrite
    from allocation_gateway.writes.environment import Environment
    from allocation_gateway.writes.request import WriteRequest

# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_HELD: Final = Phase.HELD
_SENDING: Final = Phase.SENDING
_IN_DOUBT: Final = Phase.IN_DOUBT
_ENDED: Final = Phase.ENDED
_ALLOCATE: Final = Action.ALLOCATE
_log = structlog.get_logger()


class Write:
    """One write, for however many callers wait for it.

    Attributes:
        request: What is asked for.
        callers: Who waits for it.
        progress: The phase that it is in.
        doubt_began: Since when it is not known what became of it, by the event loop's clock; None if that was always
            known.
    """

    __slots__ = (
        "_acquisition",
        "_cause",
        "_claimed",
        "_context",
        "_final_error",
        "_sender",
        "callers",
        "doubt_began",
        "progress",
        "request",
    )

    def __init__(
        self,
        environment: Environment,
        api: AccountApi,
        request: WriteRequest,
        observation: Observation,
        deadline: float,
    ) -> None:
        """Begins nothing yet.

        Args:
            environment: What all writes share.
            api: Where it is sent.
            request: What is asked for.
            observation: The call that begins it, as telemetry sees it.
            deadline: Until when its first caller waits, by the event loop's clock.
        """
        self.request = request
        self.callers = Callers(deadline, api.clock)
        self.progress = Progress()
        self.doubt_began: float | None = None
        self._context = WriteContext(environment, api, request, observation, self.callers)
        self._sender = Sender(self._context) if request.batch is None else BatchedSender(self._context, request.batch)
        self._acquisition = Acquisition(self._context, self._sender)
        self._claimed: ClaimedWrite | None = None
        # With what the doubt began that it is in, or was in last: that it has no effect is only said after that if what
        # was read shows it.
        self._cause: GatewayError | None = None
        # What callers are told of a write that was given up, or that is refused.
        self._final_error: GatewayError | None = None

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return self.progress.phase

    @property
    def api(self) -> AccountApi:
        """Where it is sent."""
        return self._context.api

    @property
    def observation(self) -> Observation:
        """The call that began it, as telemetry sees it."""
        return self._context.observation

    async def run(self) -> WriteResult:
        """Carries it out.

        Raises:
            GatewayError: It was not carried out, or it is not known.
        """
        try:
            got = await self._acquisition.acquire()
            if isinstance(got, WriteResult):
                return got
            await self._begin(got)
            result: WriteResult | None = None
            while result is None:
                result = await (self._resolve(got) if self.phase is _IN_DOUBT else self._send(got))
            if got.operation.action is _ALLOCATE:
                made: Any = result.response
                self._context.api.carriers.append(got.operation.allocations.carrier(made.allocation))
            return result
        except GatewayError as error:
            if error.excluded:
                self._context.count_excluded(error.excluded)
            # The frames that it came through hold on to it, and it to them: the garbage collector would have to look.
            raise error.with_traceback(None)  # noqa: B904 - it is the same error
        except asyncio.CancelledError:
            self._give_up()
            raise
        except Exception:
            told = self._give_up()
            if told.code is not StatusCode.UNKNOWN:
                raise
            # Whatever the defect is, it does not tell what became of what was sent.
            _log.exception("defect", rpc=self.request.operation.name, **self._told())
            raise told from None
        finally:
            self._sender.release_permit()
            self.progress.enter(_ENDED)

    async def _begin(self, claimed: ClaimedWrite) -> None:
        """Gets ready to send something, or to read what was sent.

        Raises:
            GatewayError: It cannot be sent in time.
        """
        self._claimed = claimed
        self._context.observation.event("claimed")
        if claimed.handle.is_first:
            # If there was a claim before, whoever held it has ended it as not made.
            self.progress.enter(_HELD)
            await attempt.prepare_first(self._context, claimed, self._sender)
        else:
            # Earlier attempts are read back before anything is sent.
            self._sender.release_permit()
            self._doubt(errors.EARLIER)

    def _doubt(self, cause: GatewayError) -> None:
        if self.doubt_began is None:
            self.doubt_began = self._context.api.now()
        self._cause = cause
        self.progress.enter(_IN_DOUBT)

    async def _send(self, claimed: ClaimedWrite) -> WriteResult | None:
        """Makes an attempt. Returns what came of it; None if it is in doubt now, or is to be tried again."""
        self.progress.enter(_SENDING)
        was_in_doubt = self._cause is not None
        result = await attempt.make(self._context, claimed, self._sender)
        match result:
            case Answered(response):
                return WriteResult(response, claimed.message)
            case Unconfirmed(response):
                self._doubt(errors.UNCONFIRMED)
                self._context.count("left_in_doubt")
                await claimed.handle.leave_in_doubt()
                return WriteResult(response, claimed.message, is_recorded=False)
            case InDoubt(cause):
                self._doubt(cause)
            case Refused() if was_in_doubt:
                self.progress.enter(_IN_DOUBT)
                found = await recovery.after_refusal(self._context, claimed, self._sender, result)
                return None if found is None else WriteResult(found, claimed.message)
            case Refused(error) if attempt.is_of_state(claimed.operation, error):
                await self._explain(claimed, error)
            case Refused():
                await self._try_again(claimed, result)
        return None

    async def _try_again(self, claimed: ClaimedWrite, refused: Refused) -> None:
        """Waits for another attempt after one that certainly had no effect, as did all before it.

        Raises:
            GatewayError: There is none: it is refused.
        """
        self.progress.enter(_HELD)
        pause = attempt.pause_before_another(self._context, self._sender, refused)
        if pause is not None:
            await asyncio.sleep(pause)
            if self.callers.are_waiting and await attempt.prepare_another(self._context, claimed, self._sender):
                return
        await self._refuse(claimed, refused.error)

    async def _explain(self, claimed: ClaimedWrite, refusal: GatewayError) -> NoReturn:
        """Ends a write that was refused for the state of its shipment or consignment, which is read.

        Raises:
            GatewayError: Always: the refusal, if what is read is the reason; else it is not known.
        """
        self._doubt(refusal)
        explained = await attempt.explain(self._context, claimed, refusal)
        if explained.is_open:
            self._context.count("left_in_doubt")
            await claimed.handle.leave_in_doubt()
            raise claimed.in_doubt(refusal)
        if explained.doubtful is not None:
            error = await resolution.record_undecided(claimed.handle, claimed.operation, explained.doubtful)
            self._context.count("undecided")
            raise error
        await self._refuse(claimed, explained.error)

    async def _refuse(self, claimed: ClaimedWrite, error: GatewayError) -> NoReturn:
        """Ends a write that is known to have had no effect.

        Raises:
            GatewayError: Always: why it is refused.
        """
        # A caller whose deadline passes while the claim is being released gets this refusal.
        self._tell_callers(error)
        await claimed.handle.release()
        # It is raised with the frames of this write, which must not hold on to it.
        self._tell_callers(None)
        raise error

    async def _resolve(self, claimed: ClaimedWrite) -> WriteResult | None:
        """Reads what became of it. Returns that; None if it is to be sent again."""
        if self._cause is None:
            raise RuntimeError("a write in doubt has a cause")
        got = await recovery.read_back(self._context, claimed, self._sender, self._cause)
        if got is None:
            self.progress.enter(_HELD)
            return None
        return WriteResult(got, claimed.message)

    def seconds_in_doubt(self) -> float:
        """Returns for how long it has not been known what became of it. Any thread may call it."""
        return 0.0 if self.doubt_began is None else self._context.api.now() - self.doubt_began

    # What callers need to know of it from outside.

    def call_off(self) -> bool:
        """Keeps it from being sent, if that is not too late. Returns whether its task can be cancelled."""
        if self._cause is not None:
            return False
        return self.phase is not _SENDING or self._sender.call_off()

    def deadline_error(self) -> GatewayError:
        """Returns the error for a caller whose time is up, or whose write was given up."""
        if self._final_error is not None:
            return self._final_error
        claimed = self._claimed
        if claimed is None:
            return self._acquisition.deadline_error()
        if self._cause is not None or self._may_be_sent:
            return claimed.in_doubt(self._cause or errors.UNANSWERED)
        return errors.too_late(is_claimed=True)

    async def renew(self) -> None:
        """Goes on holding its claim. As long as nothing is sent, it may go on to be sent."""
        claimed, under_way = self._claimed, self._sender.attempt
        if claimed is None:
            return
        is_waiting = under_way is not None and not under_way.sent
        effects = self._context.longest_effect() if is_waiting else None
        if await claimed.handle.renew(effects=effects) and under_way is not None:
            under_way.extend(claimed.handle.send_by)

    @property
    def _may_be_sent(self) -> bool:
        return self.phase is _SENDING and self._sender.may_have_sent

    def _told(self) -> Mapping[str, str]:
        """Returns what log lines say of it beside the rpc."""
        return {"request_id": self.request.message.request_id, **self.observation.log_fields()}

    def _tell_callers(self, error: GatewayError | None) -> None:
        """Sets the error that callers get whose time is up, instead of what the phase says."""
        self._final_error = error

    def _give_up(self) -> GatewayError:
        """Ends the work of a task that ends here, without waiting for the store. Returns what callers are told."""
        error = self.deadline_error()
        self._tell_callers(error)
        claimed = self._claimed
        effects: float | None = None
        if claimed is None:
            self._acquisition.abandon()
            return error
        if self._may_be_sent:
            effects = self._context.api.settle_time(self.request.operation)
        elif self._cause is not None:
            effects = claimed.handle.seconds_until_effects_end()
        if effects is not None:
            self._context.count("left_in_doubt")
        claimed.handle.abandon(effects=effects)
        return error

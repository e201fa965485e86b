"""Sends items of a job in one bulk call: each is a write of its own, with the id that job and reference give it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.callers.errors import not_allowed
from allocation_gateway.errors import GatewayError, WriteEffect, status_names
from allocation_gateway.operations.model import references_field
from allocation_gateway.rpc.streams import outcomes
from allocation_gateway.rpc.streams.item_writes import ItemWrites
from allocation_gateway.rpc.streams.outcomes import Found, OutcomeKind
from allocation_gateway.writes.batch import Batch, is_request_refused, may_be_anothers_fault
from allocation_gateway.writes.fingerprint import fingerprints
from allocation_gateway.writes.request import WriteRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from google.protobuf.message import Message

    from allocation_gateway.account_api import AccountApi
    from allocation_gateway.accounts.model import Account
    from allocation_gateway.operations.model import Operation
    from allocation_gateway.operations.streams import AllocationStream
    from allocation_gateway.rpc.base import Gateway
    from allocation_gateway.rpc.streams.job import Item
    from allocation_gateway.telemetry.observation import Observation
    from allocation_gateway.writes.request import Prepare, WriteResult

# Seconds on top of the time-out of a request, so that its answer is there when the wait for it ends.
_SLACK: Final = 2.0


class Sent(NamedTuple):
    """What came of a bulk call.

    Attributes:
        rejected: The items that were refused with all the others, of which one may be at fault: nothing was told of
            them.
        is_sent: Whether upstream may have got it.
        refusal: With what it was refused as a whole, for a reason that an item of it can be the cause of; None if it
            was not.
        is_let_through: Whether upstream has answered it item by item.
    """

    rejected: Sequence[Item]
    is_sent: bool
    refusal: GatewayError | None = None
    is_let_through: bool = False


class Sending:
    """Sends the items of one job.

    Attributes:
        observation: The call, as telemetry sees it.
    """

    def __init__(
        self,
        gateway: Gateway,
        row: AllocationStream,
        account: Account,
        api: AccountApi,
        observation: Observation,
        fields: Mapping[str, Any],
        allowed: Collection[str] | None,
    ) -> None:
        """Takes what it needs.

        Args:
            gateway: What all rpcs share.
            row: The rpc.
            account: The account that they are for.
            api: Its API, where they are sent.
            observation: The call, as telemetry sees it.
            fields: What log lines say of it.
            allowed: The codes of the service groups that its caller may allocate with; None for any allocation.
        """
        self._gateway = gateway
        self._allowed = allowed
        self._row = row
        self._api = api
        self._routes = account.routes
        self._disabled = account.disabled
        self._resolver = account.groups.resolver
        self.observation = observation
        self._fields = fields

    async def send(
        self, items: Sequence[Item], tell: Callable[[Item, Found], None], on_answer: Callable[[], None]
    ) -> Sent:
        """Carries out the writes of items that may be sent together, and waits for what becomes of them.

        Args:
            items: The items.
            tell: Is told what became of each, as soon as it is known.
            on_answer: Is called when their bulk call has ended. What was not sent with it may last longer.
        """
        api, selector = self._api, items[0].selector
        operation = self._row.bulk[selector.WhichOneof("scope") or ""]
        if operation.full_name in self._disabled:
            for item in items:
                tell(item, Found(OutcomeKind.REFUSED, error=_disabled()))
            return Sent((), is_sent=False)
        deadline = api.clock() + api.settings.timeout + _SLACK
        code, prepare = await self._group(selector, deadline)
        if self._allowed is not None and prepare is None and code not in self._allowed:
            missing = f"the service group {code}" if code else "an allocation that names no service group"
            for item in items:
                tell(item, Found(OutcomeKind.REFUSED, error=not_allowed(missing)))
            return Sent((), is_sent=False)
        resends = min(item.sendings for item in items)
        route, pace = self._routes[operation.full_name], self._gateway.writes.pace
        batch = Batch(api, operation, route, self.observation, deadline, pace, resends)
        new_write = self._writes_of(operation, items[0], code, prepare, batch)
        if prepare is None:
            # Else it would come when the first of them asks for it, and each of them would wait for it by itself.
            batch.request_permit()
        return await self._carry_out(items, new_write, batch, deadline, tell, on_answer)

    async def _carry_out(
        self,
        items: Sequence[Item],
        new_write: Callable[[Item], WriteRequest],
        batch: Batch,
        deadline: float,
        tell: Callable[[Item, Found], None],
        on_answer: Callable[[], None],
    ) -> Sent:
        """Carries out the writes of items. See send()."""
        rejected: list[Item] = []
        refusals: list[GatewayError] = []

        def conclude(item: Item, outcome: WriteResult | GatewayError) -> tuple[str, str]:
            if not isinstance(outcome, GatewayError):
                found = outcomes.of_result(batch.operation, outcome, item.reference)
                tell(item, found)
                return status_names(found.error)
            # Also if it was sent by another call, which this one has joined.
            is_anothers = may_be_anothers_fault(outcome)
            if is_anothers or (batch.request_errors and is_request_refused(outcome)):
                refusals.append(outcome)
            if is_anothers:
                rejected.append(item)
            else:
                tell(item, outcomes.of_error(outcome))
            return status_names(outcome)

        writes = ItemWrites(self._gateway.writes, self._api, self.observation, self._fields, conclude)
        try:
            # Each of them enters the batch, or joins a write with its id.
            async for some in self._gateway.writes.pace.parts(items):
                for item in some:
                    writes.begin(item, new_write(item), min(deadline, item.until))
            writes.keep_time()
            batch.seal()
            await batch.wait()
            for item in items:
                item.sendings += batch.is_sent
            on_answer()
            await writes.wait()
        finally:
            batch.seal()
            writes.leave()
        return Sent(
            rejected,
            is_sent=batch.is_sent,
            refusal=refusals[0] if refusals else None,
            is_let_through=batch.is_sent and not batch.request_errors,
        )

    async def _group(self, selector: Any, deadline: float) -> tuple[str, Prepare | None]:
        """Returns the code of the service group that a selector means, if it names one; or what refuses it."""
        if selector.WhichOneof("scope") != "service_group":
            return "", None
        text, resolver, api = selector.service_group, self._resolver, self._row.api
        try:
            code = resolver.lookup(api, text, WriteEffect.NONE)
            if code is None:
                seconds = deadline - self._api.clock()
                code = await resolver.resolve(api, text, WriteEffect.NONE, seconds)
        except GatewayError as error:
            refusal = error

            async def refuse(_: float) -> Message:
                raise refusal.copied()

            return "", refuse
        return code, None

    def _writes_of(
        self, operation: Operation, like: Item, code: str, prepare: Prepare | None, batch: Batch
    ) -> Callable[[Item], WriteRequest]:
        """Returns what makes the writes of items that may be sent together.

        Args:
            operation: The row of their bulk call.
            like: One of them.
            code: That of the service group that they name; empty if they name none.
            prepare: What refuses them; None if nothing does.
            batch: What they are sent with.
        """
        field, route = references_field(operation.request), self._routes[operation.full_name]
        alike = self._row.alike(like.selector)
        # Of what the caller wrote: what a group's name stands for may change between two calls.
        made = fingerprints(operation.full_name, operation.request(**{field: [like.reference]}, **alike), field)
        if code:
            alike["service_group"] = code

        def new_write(item: Item) -> WriteRequest:
            # Field by field: to name them all in one call takes half as long again.
            message: Any = operation.request(**alike)
            getattr(message, field).append(item.reference)
            message.request_id = item.request_id
            return WriteRequest(
                operation=operation,
                route=route,
                message=message,
                is_named=True,
                fingerprint=made(item.reference),
                terms=None,
                prepare=prepare,
                batch=batch,
            )

        return new_write


def _disabled() -> GatewayError:
    return GatewayError(
        StatusCode.UNIMPLEMENTED,
        ErrorReason.ERROR_REASON_OPERATION_DISABLED,
        "The bulk call that this needs is switched off in this gateway.",
        effect=WriteEffect.NONE,
    )

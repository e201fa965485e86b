"""What the checker lets pass, by what witness, and what that cannot hide. Nothing else is let pass.

*Not done*, of something that was done:

- A copy of the call did it, by another gateway, after upstream had refused what this gateway had sent, or after this
  answer had left. Rests on the wire, which knows whose a request is, and on the gateway's log. It hides nothing that
  this gateway has sent, nor anything that anybody had sent before.
- Another system undid it. Rests on the journal, and on an answer of upstream's to somebody who asked after that and
  before this answer left. It hides nothing that was still there when upstream was last asked.
- It came late: when another system had taken away what this call was refused for, or when upstream's own rule is off
  and another's allocation was there. Rests on the journal and the wire. It hides nothing that this gateway has read and
  could tell from the other's allocation.

- Its request was sent twice on its way, and the answer is that of the second. Rests on the wire. It hides nothing that
  the gateway that had sent it has read after that, while its caller had time: another gateway finds it there already.

A second effect:

- What was de-allocated again is another request's that had been queued, and whose turn came within the tolerances after
  the first time: no tracking reference told it from what was there. Rests on the journal and the wire. It hides no
  second allocation, and nothing where shipments are read before they are written.
- The first request was sent twice on its way, and the refusal of the second was the answer. Rests on the wire. It hides
  nothing that this gateway has read after that, while its caller had time.

A repeat that is answered otherwise than before:

- It reads, since the store may have failed to take the first answer. Rests on the wire to the store, which writes
  down what it does to which id. It hides neither a second effect nor any other answer than OK.

A last word of an item of a stream that is not the one of an earlier call:

- Another system has changed how it stands: it took away what the item was refused for, or what it was told of. Rests
  on the journal: it did so after the earlier call had begun. The refusal of a whole call frees its claims, so that
  the items are sent when they are asked for again. It hides neither an effect that was denied nor a second one.

*Unknown*, where nothing was struck:

- The caller's time is up. Rests on the wire, and on the gateway's log: upstream had not answered by then.
- It is behind another request for the same. Rests on the callers: the other one was asked for meanwhile.
- It can never be known. Rests on the journal: somebody else allocated, or asked for it, within the tolerances of the
  claim, which a slow store makes late, whoever gave the call up, or after it, of what a bulk call asked for; or had it
  queued, and its turn came later; or cancelled it; or allocated what was to be de-allocated again, or within the
  tolerances before by a turn in the queue. Such calls are counted.
- A refusal was not believed. Rests on the wire: the request was sent twice on its way. Or what it was refused for was
  gone when that was read. Rests on the wire and the journal: another system took it away after this gateway had asked.

Everything but upstream's own rule:

- For an id whose gateway was stopped, or whose claims were wiped, while it was asked for. Rests on what was done to
  the process or to the store. It hides no double booking where upstream's rule is on.

None of them rests on how fast the machine is, or on when a caller came to read its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.history import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.history import Call, Effect, Incident, Operation, Request
    from chaos.records import Records

_OF_THE_STORE: Final = frozenset(
    {"slow store", "store connection lost", "store restarted", "store wiped", "store node killed", "slots moved"}
)
_FIRST_REFUSAL: Final = 400
# Seconds by which an allocation must be older than a write to be denied, and what dates leave out.
_LONGEST_BEFORE: Final = 12.0
# Seconds before a deadline at which the gateway answers because of it: its own margin, and as much again.
IN_TIME: Final = 0.15


class Allowances:
    """Decides for one history whether something is let pass."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._run = records.history.run

    # What was done, and is denied.

    def is_denied(self, operation: Operation, call: Call, effect: Effect, until: float | None) -> bool:
        """Tells whether a call that says *not done* denies an effect.

        Args:
            operation: What is wanted.
            call: What says so.
            effect: What was done for it.
            until: When it was asked for again; infinity if it never was, None if it was asked for elsewhere meanwhile.
        """
        cause = self._records.cause(effect)
        sent = effect.time if cause is None else cause.arrived
        if until is not None:
            # Neither what was done nor what comes to be done without another call.
            return sent < until
        if cause is not None and cause.replica == call.replica:
            return sent <= call.said_at
        return sent < self._decided_at(operation, call)

    def _decided_at(self, operation: Operation, call: Call) -> float:
        """Returns when it was decided what a call is told, at the latest: another gateway may go on from then.

        That is when upstream refused what this gateway had sent, which frees the claim, or when the answer left.
        """
        refused = [
            one.ended
            for one in self._records.writes[operation.id]
            if one.replica == call.replica
            and one.delivered >= _FIRST_REFUSAL
            and call.started <= one.ended <= call.said_at
        ]
        return max(refused, default=call.said_at)

    def is_excused(self, call: Call, effect: Effect) -> bool:
        """Tells whether the promise does not cover what a call says of an effect: what it rests on was not so."""
        return (
            self._was_undone(call, effect)
            or self._is_meddled_with(call, effect)
            or self._is_unguarded(call, effect)
            or self._was_sent_twice(call, effect)
        )

    def _was_sent_twice(self, call: Call, effect: Effect) -> bool:
        """Tells whether an effect is that of a request that was sent twice, and nobody could look in time."""
        cause = self._records.cause(effect)
        if cause is None or cause.fault != "sent twice":
            return False
        is_unread = any(
            not one.writes
            and not one.delivered
            and one.trace == call.id
            and one.replica == cause.replica
            and cause.arrived <= one.arrived <= call.said_at
            for one in self._records.sent_for[effect.reference]
        )
        return is_unread or call.said_at >= call.deadline - IN_TIME or not self._was_seen(call, effect)

    def _was_undone(self, call: Call, effect: Effect) -> bool:
        """Tells whether somebody outside undid an effect, and upstream was asked after that.

        What was cancelled may have been done before: that shows.
        """
        cancelled = self._records.cancelled.get(effect.reference, float("inf"))
        return any(
            one.trace.startswith(OUTSIDE)
            and effect.time < one.time <= call.said_at
            and one.time < cancelled
            and self._is_answered(effect.reference, one.time, call.said_at)
            for one in self._records.effects_on[effect.reference]
        )

    def _is_answered(self, reference: str, since: float, until: float) -> bool:
        """Tells whether upstream's own answer about a reference was received, of a state since a moment."""
        return any(
            one.delivered and one.answered is not None and one.answered >= since and one.ended <= until
            for one in self._records.sent_for[reference]
        )

    def _is_meddled_with(self, call: Call, effect: Effect) -> bool:
        """Tells whether somebody outside took away the allocation that a call was refused for, before an effect."""
        meddled = any(
            one.trace.startswith(OUTSIDE) and one.kind == "deallocated" and call.started < one.time < effect.time
            for one in self._records.effects_on[effect.reference]
        )
        return meddled and _is_refused(call, effect.reference) and not self._was_seen(call, effect)

    def _is_unguarded(self, call: Call, effect: Effect) -> bool:
        """Tells whether upstream's own rule, on which the promise rests, is off and would have kept an effect away.

        A request that meets another's allocation is refused for it, and what is left of the request on the wire is
        refused too, by a real upstream.
        """
        if self._run.guard or not _is_refused(call, effect.reference):
            return False
        before = [
            one for one in self._records.effects_on[effect.reference] if one.time < min(call.said_at, effect.time)
        ]
        booked_by_another = bool(before) and before[-1].kind == "allocated" and before[-1].trace != call.id
        return booked_by_another and not self._was_seen(call, effect)

    def _was_seen(self, call: Call, effect: Effect) -> bool:
        """Tells whether the gateway of a call has read what it was about after an effect, before it answered.

        An allocation that came within the tolerances after another's does not show that it is another. What another's
        has replaced by then does not show.
        """
        if any(
            one.kind == effect.kind
            and one.trace != effect.trace
            and effect.time - self._run.tolerance <= one.time < effect.time
            for one in self._records.effects_on[effect.reference]
        ):
            return False
        replaced = min(
            (
                one.time
                for one in self._records.effects_on[effect.reference]
                if one.trace != effect.trace and one.time > effect.time
            ),
            default=float("inf"),
        )
        return any(
            not one.writes
            and one.delivered
            and one.trace == call.id
            and one.replica == call.replica
            and one.forwarded is not None
            and effect.time <= one.forwarded < replaced
            and one.ended <= call.said_at
            for one in self._records.sent_for[effect.reference]
        )

    # What was done again.

    def was_done_again(self, operation: Operation, before: Effect, after: Effect) -> bool:
        """Tells whether the promise does not cover a second effect: what it rests on was not so."""
        return self._is_a_turn(operation, before, after) or any(
            _is_refused(call, before.reference)
            and before.time < call.said_at < after.time
            and self._was_sent_twice(call, before)
            for call in self._records.calls[operation.id]
        )

    def _is_a_turn(self, operation: Operation, before: Effect, after: Effect) -> bool:
        """Tells whether what was de-allocated again was allocated by a turn in the queue that came soon after before.

        How soon it came can only be told as exactly as the last reading was fast.
        """
        if operation.verb != "deallocate" or self._run.reads_before:
            return False
        readings = [
            one.ended - one.arrived
            for one in self._records.sent_for[before.reference]
            if one.trace == operation.id and not one.writes and one.delivered and one.ended <= after.time
        ]
        soon = before.time + self._run.tolerance + (readings[-1] if readings else 0.0)
        return any(
            one.kind == "allocated" and before.time < one.time <= soon and self._is_queued(one)
            for one in self._records.effects_on[before.reference]
        )

    def _is_queued(self, effect: Effect) -> bool:
        cause = self._records.operations.get(effect.trace)
        return cause is not None and cause.verb == "queue"

    # What is answered otherwise than before.

    def was_not_recorded(self, first: Call, call: Call) -> bool:
        """Tells whether a repeat was read, because the store may have failed to take the first answer."""
        struck = any(
            one.kind in _OF_THE_STORE
            and (not one.named or call.id in one.named)
            and one.started <= call.ended
            and one.ended >= first.started
            for one in self._records.history.incidents
        )
        return call.code == "OK" and call.reconciled and struck

    def is_said_of_another_state(self, first: Call, call: Call) -> bool:
        """Tells whether another system has changed how an item of a stream stands, between what two calls say of it."""
        (reference,) = call.references
        undone = [
            one.time
            for one in self._records.effects_on[reference]
            if one.kind == "deallocated" and one.trace.startswith(OUTSIDE)
        ]
        if reference in self._records.cancelled:
            undone.append(self._records.cancelled[reference])
        return any(first.started < moment <= call.said_at for moment in undone)

    # What is not known.

    def was_under_way(self, call: Call) -> bool:
        """Tells whether a caller's time was up while upstream had not answered: it may be a third of a second.

        What another process had sent for it before may be answered meanwhile: that is seen when the claim is asked for
        the next time.
        """
        in_time = call.deadline - IN_TIME
        return call.said_at >= in_time and any(
            self._was_sent(one, call) and one.over >= (in_time if one.arrived >= call.started else call.started)
            for reference in call.references
            for one in self._records.sent_for[reference]
        )

    def _was_sent(self, request: Request, call: Call) -> bool:
        """Tells whether a request was sent before a call was answered.

        The wire may notice it after that: until the next call of the same id there is nobody else to send it for.
        """
        if request.arrived <= call.said_at:
            return True
        later = (one.started for one in self._records.calls[call.id] if one.started > call.said_at)
        return (
            request.trace == call.id
            and request.replica == call.replica
            and request.arrived < min(later, default=float("inf"))
        )

    def is_behind_another(self, call: Call) -> bool:
        """Tells whether a call is told to ask again while another request for the same is in the gateways' hands.

        It waits for that no longer than the lock of a shipment is waited for, whatever its caller's patience.
        """
        return call.retry_after is not None and any(
            one.id != call.id and one.started <= call.said_at and call.started <= one.ended
            for reference in call.references
            for one in self._records.asked_for[reference]
        )

    def is_unexplained(self, call: Call) -> bool:
        """Tells whether a call was refused for what another system took away before this gateway could read it."""
        return any(
            one.writes
            and one.delivered >= _FIRST_REFUSAL
            and one.trace == call.id
            and one.replica == call.replica
            and call.started <= one.ended <= call.said_at
            and any(
                effect.kind == "deallocated"
                and effect.trace.startswith(OUTSIDE)
                and one.arrived <= effect.time <= call.said_at
                for effect in self._records.effects_on[reference]
            )
            for reference in call.references
            for one in self._records.sent_for[reference]
        )

    def is_undecided(self, operation: Operation, call: Call) -> bool:
        """Tells whether a call is told, and rightly so, that it can never be known what became of its operation.

        That is so if somebody else allocated the shipment at about the time of an allocation of it. Where the gateway
        could not read the shipment before it sent anything, and upstream names no tracking references, nothing tells
        the two apart. Then it does not say when to ask again.
        """
        is_final = call.reason == "OUTCOME_UNKNOWN" and call.retry_after is None
        if is_final and any(one.fault == "sent twice" for one in self._records.writes[operation.id]):
            return True
        unknown = (
            operation.references if is_final else [name for name, one in call.outcomes.items() if one == "unknown"]
        )
        if unknown and self._records.cancelled.keys() >= set(unknown):
            return True
        if not unknown:
            return False
        if operation.verb == "deallocate":
            return all(self._is_another_allocation(operation, reference) for reference in unknown)
        return all(self._may_be_anothers(operation, reference) for reference in unknown)

    def _is_another_allocation(self, operation: Operation, reference: str) -> bool:
        """Tells whether a shipment was allocated after it was first to be de-allocated, or may seem to have been."""
        first = self._records.calls[operation.id][0].started
        tolerance = self._run.tolerance if self._was_queued_by_another(operation, reference) else 0.0
        return any(
            one.kind == "allocated" and one.time > first - tolerance for one in self._records.effects_on[reference]
        )

    def _may_be_anothers(self, operation: Operation, reference: str) -> bool:
        """Tells whether somebody else allocated a shipment, or had it queued, at about the time of a call for it.

        What a bulk call asks for may have been queued, and its turn come at any time: so may have come what is there.
        """
        if self._was_queued_by_another(operation, reference):
            return True
        may_wait = operation.verb == "queue" or len(operation.references) > 1
        others = [
            (self._asked_at(one), one.time)
            for one in self._records.effects_on[reference]
            if one.kind == "allocated" and one.trace != operation.id
        ]
        return any(
            one.started - _LONGEST_BEFORE <= done and (may_wait or asked <= self._claimed_at(one) + self._run.tolerance)
            for asked, done in others
            for one in self._records.calls[operation.id]
        )

    def _was_queued_by_another(self, operation: Operation, reference: str) -> bool:
        """Tells whether a shipment was queued for somebody else, whose turn may come, or find that it is allocated."""
        last = max(call.ended for call in self._records.calls[operation.id])
        return any(
            one.arrived <= last and reference in one.references
            for other in self._records.history.operations
            if other.verb == "queue" and other.id != operation.id and reference in other.references
            for one in self._records.writes[other.id]
        )

    def _claimed_at(self, call: Call) -> float:
        """Returns when a call has begun its claim, at the latest: a slow store may do so after it was given up.

        It may be given up by the gateway, by its caller, or with its process; and of a step that was asked for twice,
        the first may come after the second was taken back. Only what was said of the write for good shows that the
        claim was there by then.
        """
        if _is_final(call):
            return call.started
        struck = [
            one.ended
            for one in self._records.history.incidents
            if one.kind in _OF_THE_STORE
            and (not one.named or not {call.id, *call.references}.isdisjoint(one.named))
            and one.started <= call.ended
            and call.started <= one.ended
        ]
        was_refused = call.reason == "CLAIM_STORE_UNAVAILABLE"
        return max(struck, default=call.ended if was_refused else call.started)

    def _asked_at(self, effect: Effect) -> float:
        """Returns when the request for an effect arrived: what is queued takes effect later."""
        cause = self._records.cause(effect)
        return effect.time if cause is None else cause.arrived

    # What nothing but upstream's own rule is promised for.

    def weakened(self) -> frozenset[str]:
        """Returns the ids for which only upstream's guard is promised: what the promise rests on was not so.

        It rests on claims that survive, and on a process not being stopped between its last check and its sending.
        """
        records = self._records
        moments = [one for one in records.history.incidents if one.kind in {"gateway stopped", "store wiped"}]
        if not moments:
            return frozenset()
        references: set[str] = set()
        for id_, calls in records.calls.items():
            if id_ in records.operations and any(self._in_doubt(calls, one) for one in moments):
                references.update(records.operations[id_].references)
        # Whoever shares a shipment with such a write is told what that made of it.
        return frozenset(id_ for id_, one in records.operations.items() if not references.isdisjoint(one.references))

    def _in_doubt(self, calls: Sequence[Call], moment: Incident) -> bool:
        """Tells whether a request was asked for before a moment and after it, or in the hands of what it befell."""
        mine = [call for call in calls if moment.replica in {-1, call.replica}]
        if not mine:
            return False
        last = max(call.said_at for call in mine) + self._run.settle
        return moment.started <= last and moment.ended >= mine[0].started


def _is_final(call: Call) -> bool:
    """Tells whether a call is told something of its write for good, be it that nothing can ever be known of it."""
    return call.code == "OK" or (call.reason == "OUTCOME_UNKNOWN" and call.retry_after is None)


def _is_refused(call: Call, reference: str) -> bool:
    """Tells whether a call is told that something was not done since it was so already, or is so for somebody else."""
    return call.code == "FAILED_PRECONDITION" or call.outcomes.get(reference) == "rejected"

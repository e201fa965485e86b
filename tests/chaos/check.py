"""The checker: reads a history, when all is quiet, and says where the promise was broken.

Usage: PYTHONPATH=tests python -m chaos.check DIRECTORY
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chaos.allowances import Allowances
from chaos.history import HISTORY, OUTSIDE, SIMULATED, STREAM, TOLD_AGAIN, UNTOLD, History
from chaos.records import EFFECT_OF, UNDONE_BY, Records
from chaos.touching import Touching

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaos.history import Call, Effect, Operation, Request

# Rpcs whose OK means no more than that it is so now; those that de-allocate apart.
GOAL_STATE: Final = frozenset({"AllocateConsignmentWithLabels"})
# Another attempt may be answered otherwise: these say nothing about the request itself.
TRANSIENT: Final = frozenset(
    {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN"}
)
HIGHEST_UNKNOWN_SHARE: Final = 0.02
# Of the calls for an account to which nothing is done, so many may be slow: what another account's upstream does not
# answer takes whole time-outs, and a busy machine far less than half of one.
HIGHEST_SLOW_SHARE: Final = 0.05
# Seconds by which two requests may be written down in another order than they came in: the wire is one process, which
# notices in turn that a gateway has left. It is far below any time that a policy decides by.
CLOCK: Final = 0.05


@dataclass(frozen=True)
class Violation:
    """A broken rule.

    Attributes:
        rule: Its name.
        id: The request id that it was broken for; a reference where there is none.
        text: What happened.
    """

    rule: str
    id: str
    text: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.rule, self.id, self.text)))


def unknown(call: Call) -> bool:
    """Tells whether a caller knows nothing after a call: it has been told so, lost the answer, or was turned away."""
    if call.code == "OK":
        return False
    turned_away = call.code in TRANSIENT and not call.effect
    return not call.reason or call.code == "UNKNOWN" or turned_away


def conclusive(call: Call) -> bool:
    """Tells whether a call says for good what became of its request."""
    if call.code == "OK":
        return "unknown" not in call.outcomes.values()
    return bool(call.reason) and call.code not in TRANSIENT


class Checker:
    """Applies every rule to one history."""

    def __init__(self, history: History) -> None:
        self._run = history.run
        self._history = history
        self._records = records = Records(history)
        self._operations = records.operations
        self._calls = records.calls
        self._writes = records.writes
        self._by_reference = records.effects_on
        self._by_id = records.effects_for
        self._allowances = Allowances(records)
        self.touching = Touching(history)
        self._weak = self._allowances.weakened()

    def violations(self) -> list[Violation]:
        """Returns every broken rule."""
        found = [*self._unasked(), *self._at_once()]
        if self._run.guard:
            found += self._double_bookings()
        for operation in self._history.operations:
            calls = self._calls[operation.id]
            if not calls:
                continue
            found += self._words_in_one_stream(calls)
            found += self._ok_without_effect(operation, calls)
            found += self._reused(operation, calls)
            if operation.id in self._weak:
                continue
            found += self._two_effects(operation)
            found += self._sent_early(operation)
            found += self._not_done(operation, calls)
            found += self._untold(operation, calls)
            found += self._repeats(operation, calls)
            found += self._last_words(operation, calls)
            found += self._unknowns(operation, calls)
            found += self._unresolved(operation, calls)
        return [*found, *self._share_of_unknown(), *self._amplified(), *self._held_up()]

    def _unasked(self) -> Iterator[Violation]:
        """What nobody asked for: of an unknown trace, or on something that its request does not name."""
        for trace, effects in self._by_id.items():
            if trace.startswith(OUTSIDE) and trace:
                continue
            operation = self._operations.get(trace)
            for one in effects:
                if operation is None:
                    yield Violation("effect nobody asked for", trace or one.reference, f"{one.kind} {one.reference}")
                elif one.reference not in operation.references and trace not in self._weak:
                    text = f"{one.kind} {one.reference}, which only another request with this id names"
                    yield Violation("reused id has an effect", trace, text)

    def _double_bookings(self) -> Iterator[Violation]:
        """What upstream's own guard forbids, whatever the gateway does."""
        for reference, effects in self._by_reference.items():
            for before, after in pairwise(effects):
                if before.kind == after.kind == "allocated":
                    yield Violation("double booking", reference, f"by {before.trace} and {after.trace}")

    def _at_once(self) -> Iterator[Violation]:
        """Two writes to one shipment at a time: judged where the store loses nothing and moments are exact."""
        if self._run.phase != SIMULATED:
            return
        for reference, requests in self._records.sent_for.items():
            under_way: list[Request] = []
            for later in (one for one in requests if one.writes):
                under_way = [one for one in under_way if one.ended > later.arrived]
                for earlier in under_way:
                    # What has had its effect may be found done by whoever reads that, also before it is answered.
                    is_seen = any(
                        one.trace == earlier.trace and earlier.arrived <= one.time <= later.arrived
                        for one in self._by_reference[reference]
                    )
                    if earlier.trace != later.trace and not is_seen:
                        text = f"{reference}: request {later.number} came while request {earlier.number} was under way"
                        yield Violation("two writes at once", later.trace, text)
                under_way.append(later)

    def _two_effects(self, operation: Operation) -> Iterator[Violation]:
        by_reference: dict[str, list[Effect]] = defaultdict(list)
        for one in self._records.effects(operation):
            by_reference[one.reference].append(one)
        for reference, effects in by_reference.items():
            for before, after in pairwise(effects):
                is_excused = self._allowances.was_done_again(operation, before, after)
                if not is_excused and not self._undone_outside(reference, before, after):
                    gap = after.time - before.time
                    yield Violation(
                        "two effects", operation.id, f"{reference} was {after.kind} again after {gap:.2f} s"
                    )

    def _undone_outside(self, reference: str, before: Effect, after: Effect) -> bool:
        """Tells whether another system undid the first effect: the promise rests on there being none."""
        return any(
            one.kind == UNDONE_BY[before.kind] and one.trace.startswith(OUTSIDE) and before.time < one.time < after.time
            for one in self._by_reference[reference]
        )

    def _sent_early(self, operation: Operation) -> Iterator[Violation]:
        """A write that was sent while an earlier one of its id could still take effect."""
        writes = self._writes[operation.id]
        soonest = self._run.settle - CLOCK
        for index, later in enumerate(writes):
            for earlier in writes[:index]:
                if later.arrived < earlier.over - CLOCK:
                    text = f"request {later.number} came while request {earlier.number} was under way"
                    yield Violation("sent while under way", operation.id, text)
                elif not _ended_by_upstream(earlier) and later.arrived < earlier.arrived + soonest:
                    text = (
                        f"request {later.number} came {later.arrived - earlier.arrived:.2f} s after request "
                        f"{earlier.number} ({earlier.fault or 'no fault'}, told {earlier.delivered})"
                    )
                    yield Violation("sent before the settle time", operation.id, text)

    def _ok_without_effect(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        kind = EFFECT_OF[operation.verb]
        for call in calls:
            claims = call.code == "OK" or call.effect == "made"
            if not claims or call.role == "other":
                continue
            for reference in operation.references:
                outcome = call.outcomes.get(reference, "done")
                if outcome in {"done", "queued"} and not self._was_so(operation, reference, kind, calls[0], call):
                    reconciled = " (reconciled)" if call.reconciled else ""
                    text = f"call {call.number} says that {reference} was {kind}{reconciled}, and it was not"
                    yield Violation("OK without its effect", operation.id, text)

    def _was_so(self, operation: Operation, reference: str, kind: str, first: Call, call: Call) -> bool:
        own = [one for one in self._by_id[operation.id] if one.reference == reference and one.kind == kind]
        # An item of a job that waits for its allocation may be told no more than that it is queued.
        is_queued = operation.verb == "queue" or call.outcomes.get(reference) == "queued"
        if any(one.time <= call.ended for one in own) or (own and is_queued):
            return True
        if is_queued and reference in self._records.cancelled:
            return True  # it was queued, and its turn never came
        effects = self._by_reference[reference]
        if operation.verb == "deallocate" or operation.method in GOAL_STATE:
            # Somebody had it so between the question and the answer.
            before = [one.kind for one in effects if one.time <= first.started] or ["deallocated"]
            meanwhile = (one.kind for one in effects if first.started <= one.time <= call.ended)
            return kind in {before[-1], *meanwhile}
        if not call.reconciled and operation.verb == "allocate" and not call.outcomes:
            return False
        since = first.started - self._run.tolerance
        # What was queued may find, when its turn comes, that somebody else has been quicker.
        until = float("inf") if is_queued else call.ended
        return any(
            one.kind == kind and since <= one.time <= until and operation.service in {"", one.service}
            for one in effects
        )

    def _not_done(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        """*Not done* is never said of what was done, nor of what comes to be done without another call."""
        effects = self._records.effects(operation)
        for index, call in enumerate(calls):
            if call.role == "other":
                continue
            if call.effect == "unknown" and call.code != "UNKNOWN":
                text = f"call {call.number} says {call.code} {call.reason} with an unknown effect"
                yield Violation("unknown by another name", operation.id, text)
            denies_all = call.code != "OK" and not unknown(call) and call.effect in {"none", ""}
            if not denies_all and not call.outcomes:
                continue
            others = (one for one in calls if one is not call and one.role != "other")
            until: float | None = calls[index + 1].started if index + 1 < len(calls) else float("inf")
            if any(one.started < call.ended and call.started < one.ended for one in others):
                until = None
            for one in effects:
                said = denies_all or call.outcomes.get(one.reference) == "rejected"
                is_denied = said and self._allowances.is_denied(operation, call, one, until)
                if is_denied and not self._allowances.is_excused(call, one):
                    when = one.time - call.said_at
                    text = (
                        f"call {call.number} says {call.code} {call.reason}, {one.reference} {one.kind} {when:+.2f} s"
                    )
                    yield Violation("not done, and yet done", operation.id, text)
                    break

    def _untold(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        """An effect of which its client's last word says nothing."""
        own = [call for call in calls if call.role != "other"]
        last = max(own, key=lambda call: call.said_at)
        for one in self._records.effects(operation):
            said = last.outcomes.get(one.reference, "done") if last.code == "OK" else ""
            honest = said in {"done", "queued", "unknown"} or unknown(last) or last.effect == "made"
            if not honest and not self._allowances.is_excused(last, one):
                text = f"{one.reference} was {one.kind}, the last word is {last.code} {last.reason} {said}"
                yield Violation("effect without a word", operation.id, text)

    def _repeats(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        """Once answered OK, an id is answered the same."""
        first = next((call for call in calls if call.code == "OK" and conclusive(call) and call.role != "other"), None)
        if first is None:
            return
        for call in calls:
            later = call.role != "other" and call is not first and call.started >= first.ended
            same = call.digest == first.digest or not conclusive(call) or self._allowances.was_not_recorded(first, call)
            if later and not same:
                text = f"call {call.number} is answered {call.code} {call.reason}, call {first.number} was OK"
                yield Violation("repeat is answered otherwise", operation.id, text)

    def _words_in_one_stream(self, calls: Sequence[Call]) -> Iterator[Violation]:
        """A stream has one word for each item, if it comes to its end."""
        for call in calls:
            if call.code == UNTOLD:
                yield Violation("item without a word", call.id, f"call {call.number}")
            if call.role == TOLD_AGAIN:
                yield Violation("item told twice", call.id, f"call {call.number} says {call.code} {call.reason} too")

    def _last_words(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        """What a stream says for good of an item, it says in all calls of its job."""
        if operation.method != STREAM:
            return
        final = sorted(filter(conclusive, calls), key=lambda call: call.said_at)
        for first, call in pairwise(final):
            same = (first.code, first.reason) == (call.code, call.reason)
            if not same and not self._allowances.is_said_of_another_state(first, call):
                text = (
                    f"call {first.number} says {first.code} {first.reason}, "
                    f"call {call.number} says {call.code} {call.reason}"
                )
                yield Violation("two last words", operation.id, text)

    def _reused(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        """An id that belongs to a request belongs to no other."""
        done = next((call for call in calls if call.code == "OK" and call.role != "other"), None)
        for call in calls:
            if call.role != "other" or done is None or call.started < done.ended or operation.id in self._weak:
                continue
            refused = call.code == "INVALID_ARGUMENT" and call.reason == "REQUEST_ID_REUSED"
            if not refused and not unknown(call) and call.code not in TRANSIENT:
                text = f"call {call.number} uses the id for another request and is answered {call.code} {call.reason}"
                yield Violation("reused id is accepted", operation.id, text)

    def _is_left_to_a_repeat(self, operation: Operation, call: Call) -> bool:
        """Tells whether a call is of a bulk operation without its effect: that is only sent again if it is repeated."""
        is_bulk = operation.verb == "queue" or len(operation.references) > 1
        done = {one.reference for one in self._records.effects(operation) if one.time <= call.ended}
        return is_bulk and not done.issuperset(operation.references)

    def _unknowns(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        for call in calls:
            if call.reason != "OUTCOME_UNKNOWN":
                continue
            over = self.touching.over(call)
            if over is None and self._allowances.was_under_way(call):
                continue
            if self._allowances.is_undecided(operation, call) or self._allowances.is_behind_another(call):
                continue
            if self._allowances.is_unexplained(call):
                continue
            if over is None:
                yield Violation("unknown without a fault", call.id, f"call {call.number}")
            elif call.deadline - over >= self._run.recovery and not self._is_left_to_a_repeat(operation, call):
                text = f"call {call.number} had {call.deadline - over:.2f} s left when the last fault was over"
                yield Violation("unknown though readable", call.id, text)

    def undecided(self) -> int:
        """Counts the operations of which it is not known at the end, and never can be."""
        return sum(
            bool(calls := self._calls[one.id]) and self._allowances.is_undecided(one, calls[-1])
            for one in self._history.operations
        )

    def _unresolved(self, operation: Operation, calls: Sequence[Call]) -> Iterator[Violation]:
        """After all faults, asking again tells."""
        settling = [call for call in calls if call.role == "settling"]
        told = any(conclusive(call) or self._allowances.is_undecided(operation, call) for call in settling)
        if settling and not told:
            said = f"{settling[-1].code} {settling[-1].reason}"
            yield Violation("never resolved", operation.id, f"after all faults it is still answered {said}")

    def share_of_unknown(self) -> tuple[int, int]:
        """Counts the calls that were told *unknown* although their upstream recovered in time, and all of those.

        Those of what can never be known are counted by themselves.
        """
        recovered = [
            call
            for call in self._history.calls
            if call.id not in self._weak
            and self.touching.recovered(call)
            and not self._is_left_to_a_repeat(self._operations[call.id], call)
            and not self._allowances.is_undecided(self._operations[call.id], call)
        ]
        return sum(call.reason == "OUTCOME_UNKNOWN" for call in recovered), len(recovered)

    def _share_of_unknown(self) -> Iterator[Violation]:
        told, asked = self.share_of_unknown()
        if asked and told > HIGHEST_UNKNOWN_SHARE * asked:
            yield Violation("too many unknown", "", f"{told} of {asked} faulted calls whose upstream recovered")

    def _held_up(self) -> Iterator[Violation]:
        """Whatever is done to another account, what is asked for this one is answered for good, and soon."""
        spared = [call for call in self._history.calls if self._is_spared(call)]
        for call in spared:
            if not conclusive(call) and not self._allowances.is_behind_another(call):
                text = f"call {call.number} is answered {call.code} {call.reason}"
                yield Violation("blocked by another account", call.id, text)
        slow = sum(call.said_at - call.started > self._run.timeout / 2 for call in spared)
        if slow > HIGHEST_SLOW_SHARE * len(spared):
            yield Violation("slowed by another account", "", f"{slow} of {len(spared)} calls")

    def _is_spared(self, call: Call) -> bool:
        """Tells whether a call of a patient caller was made while nothing was done to its account."""
        return (
            any(one.started <= call.started <= one.ended for one in self._history.spared)
            and self.touching.over(call) is None
            and call.code != "CANCELLED"
            and call.deadline - call.started >= self._run.recovery
        )

    def _amplified(self) -> Iterator[Violation]:
        for one in self._history.incidents:
            if one.kind == "outage":
                sent, asked = self.touching.amplification(one)
                if sent > 1.1 * asked + self._run.burst:
                    yield Violation("writes amplified", "", f"{sent} writes sent for {asked} asked in an outage")


def _ended_by_upstream(request: Request) -> bool:
    """Tells whether an attempt was ended in upstream's own words, which a 500 is not."""
    return request.delivered not in {0, 500}


def phases(directory: Path) -> Iterable[Path]:
    """Returns the directories below one, itself included, that hold a history."""
    return sorted(path.parent for path in directory.rglob(HISTORY))


def main() -> int:
    """Checks every history below a directory; 1 if the promise was broken."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    broken = 0
    for directory in phases(Path(sys.argv[1])):
        found = Checker(History.load(directory)).violations()
        broken += len(found)
        sys.stdout.write(f"{directory.name}: {len(found)} violations\n")
        for one in found:
            sys.stdout.write(f"  {one}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""What slots.lua does, in Python: for a simulated world, in which there is no server.

tests/claims/test_slots.py holds it to the script, step by step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STATE, HOLDER, ATTEMPTS, BEGUN_AT, LEASE_UNTIL, EFFECTS_END_AT, FINGERPRINT, REFERENCES, OWNERS = range(1, 10)
RESUMED, TAKING, GENERATION, MARKS, KEPT_UNTIL = range(10, 15)
IN_DOUBT, DONE, SETTLED = range(3)
_MICRO: Final = 1_000_000
pack: Final = msgspec.msgpack.Encoder().encode
unpack: Final = msgspec.msgpack.Decoder().decode


class SlotServer:
    """All servers of a cluster: each step is one of one slot, and happens as a whole."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Is empty.

        Args:
            clock: Tells the time in seconds.
        """
        self._clock = clock
        self._kept: dict[str, Any] = {}
        self._ends: dict[str, float] = {}

    def carry_out(self, step: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Carries out a step. Takes what the script takes, and returns what it returns."""
        return _Step(self, self.now(), step, keys, arguments).run(step)

    def now(self) -> int:
        """Returns the time, in microseconds."""
        return round(self._clock() * _MICRO)

    def head(self, key: str) -> list[Any] | None:
        """Returns the head of a claim; None if there is none."""
        claim = self.get(key, self.now())
        return None if claim is None else claim["h"]

    def locked(self) -> list[str]:
        """Returns the keys of all locks."""
        return [key for key in list(self._kept) if key.endswith(":lock") and self.get(key, self.now()) is not None]

    def get(self, key: str, now: int) -> Any:
        """Returns what is kept under a key; None if nothing is."""
        if self._ends.get(key, math.inf) <= now:
            self.delete(key)
        return self._kept.get(key)

    def set(self, key: str, what: Any, until: float = math.inf) -> None:
        """Keeps something under a key until some moment, in microseconds."""
        self._kept[key], self._ends[key] = what, until

    def delete(self, key: str) -> None:
        """Forgets what is kept under a key."""
        self._kept.pop(key, None)
        self._ends.pop(key, None)


class _Step:
    """One step. Its methods are those of the script, in the same order."""

    def __init__(self, server: SlotServer, now: int, step: str, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        self._server = server
        self._now = now
        self._names = dict(zip(("claim", "lock", "owner"), keys, strict=False))
        self._rest = tuple(arguments)
        if step in {"lock", "unlock", "ended", "name"}:
            self._names = dict(zip(("lock", "owner"), keys, strict=False))
        else:
            self._id, self._home, self._retention, *rest = arguments
            self._rest = tuple(rest)

    def run(self, step: str) -> Any:
        return getattr(self, f"_{step}")(*self._rest)

    def _get(self, name: str) -> Any:
        return self._server.get(self._names[name], self._now)

    def _set(self, name: str, what: Any, lasts: float = math.inf) -> None:
        self._server.set(self._names[name], what, self._now + lasts)

    def _delete(self, name: str) -> None:
        self._server.delete(self._names[name])

    def _head(self) -> list[Any] | None:
        claim = self._get("claim")
        return None if claim is None else claim["h"]

    def _mine(self, holder: str) -> list[Any] | None:
        head = self._head()
        return head if head and head[STATE] == IN_DOUBT and head[HOLDER] == holder else None

    def _shown(self) -> list[Any]:
        claim = self._get("claim")
        return [self._id.encode(), pack(claim["h"]), claim["b"], claim.get("a"), claim.get("z"), self._now]

    def _is_own(self, packed: bytes) -> bool:
        held = unpack(packed)
        return bool(held[0] == self._id and held[2] == self._home)

    def _unlock_home(self) -> None:
        held = self._get("lock")
        if held and self._is_own(held):
            self._delete("lock")

    def _told(self, head: list[Any]) -> Any:
        return [pack(head), self._now] if len(head[REFERENCES]) > 1 else 1

    def _give_back(self, head: list[Any]) -> list[Any] | None:
        self._unlock_home()
        if not head[RESUMED]:
            self._delete("claim")
            return None
        head[STATE], head[ATTEMPTS], head[TAKING], head[GENERATION] = SETTLED, head[ATTEMPTS] - 1, False, ""
        self._set("claim", self._get("claim"), self._retention)
        return head

    def _current(self) -> list[Any] | None:
        head = self._head()
        if head and head[STATE] == IN_DOUBT and head[TAKING] and head[LEASE_UNTIL] <= self._now:
            return self._give_back(head)
        return head

    def _new_head(self, holder: str, fingerprint: str, references: list[str], lease: int, effects: int) -> list[Any]:
        known, now = self._get("owner"), self._now
        owners = [self._home, unpack(known)[0]] if known else []
        until = (now + lease, now + effects)
        return [1, IN_DOUBT, holder, 1, now, *until, fingerprint, references, owners, False, False, "", "", 0]

    def _begin(
        self,
        holder: str,
        fingerprint: str,
        references: bytes,
        lease: int,
        effects: int,
        body: bytes,
        generation: str,
        value: bytes,
    ) -> Any:
        old = self._current()
        is_again = bool(old and old[STATE] == IN_DOUBT and old[TAKING] and old[HOLDER] == holder)
        if old and not is_again and not (old[STATE] == SETTLED and old[FINGERPRINT] == fingerprint):
            return [b"held", self._shown()]
        held = self._get("lock")
        if held and not self._is_own(held):
            return [b"locked", held]
        head = self._new_head(holder, fingerprint, unpack(references), lease, effects)
        if old:
            head[BEGUN_AT], head[ATTEMPTS], head[RESUMED] = old[BEGUN_AT], old[ATTEMPTS], old[RESUMED]
            if not is_again:
                head[ATTEMPTS], head[RESUMED] = old[ATTEMPTS] + 1, True
        head[TAKING], head[GENERATION] = len(head[REFERENCES]) > 1, generation
        self._set("claim", {**(self._get("claim") or {}), "h": head, "b": body})
        self._set("lock", value)
        return [b"begun", self._shown()]

    def _confirm(self, holder: str, generation: str, owners: bytes) -> Any:
        head = self._mine(holder)
        if not head or head[GENERATION] != generation:
            return None
        if head[TAKING]:
            head[TAKING], head[OWNERS] = False, unpack(owners)
        return self._shown()

    def _take_over(self, holder: str, lease: int) -> Any:
        head = self._head()
        if not head or head[STATE] != IN_DOUBT or head[TAKING]:
            return None
        if head[HOLDER] != holder and head[LEASE_UNTIL] > self._now:
            return None
        head[HOLDER], head[LEASE_UNTIL] = holder, self._now + lease
        return self._shown()

    def _renew(self, holder: str, lease: int, effects: int | str, attempts: int, body: bytes) -> int:
        head = self._mine(holder)
        if not head:
            return 0
        head[LEASE_UNTIL] = self._now + lease
        if not isinstance(effects, str):
            head[EFFECTS_END_AT] = self._now + effects
        head[ATTEMPTS] += attempts
        if body:
            self._get("claim")["b"] = body
        return 1

    def _mark_owner(self, mark: str, owned: bytes, retention: int) -> None:
        if mark == "a":
            self._set("owner", owned, retention)
        elif mark == "d":
            self._delete("owner")

    def _finish(
        self,
        holder: str,
        fingerprint: str,
        references: bytes,
        lease: int,
        effects: int,
        body: bytes,
        first_holder: str,
        form: str,
        answer: bytes,
        keep: int,
        allocated: bytes,
        deallocated: bytes,
        owned: bytes,
        kept: bytes,
    ) -> Any:
        head = self._head()
        if head and head[STATE] == DONE:
            return self._told(head)
        mark = {**dict.fromkeys(unpack(allocated), "a"), **dict.fromkeys(unpack(deallocated), "d")}
        if head and head[HOLDER] != holder and head[FINGERPRINT] != fingerprint:
            self._mark_owner(mark.get(self._home, ""), owned, self._retention)
            return 1
        if not head:
            head = self._new_head(first_holder, fingerprint, unpack(references), lease, effects)
            self._set("claim", {"h": head, "b": body})
        if head[TAKING]:
            head[GENERATION] = ""
        head[STATE], head[TAKING] = DONE, False
        head[MARKS] = "".join(mark.get(reference, "-") for reference in head[REFERENCES])
        head[KEPT_UNTIL] = self._now + keep if keep > 0 else 0
        claim = self._get("claim")
        self._set("claim", {**claim, form: answer}, self._retention)
        held = self._get("lock")
        if not held or self._is_own(held):
            self._delete("lock")
            if keep > 0:
                self._set("lock", kept, keep)
        self._mark_owner(mark.get(self._home, ""), owned, self._retention)
        return self._told(head)

    def _release(self, holder: str) -> Any:
        head = self._mine(holder)
        if not head:
            return 0
        answer = self._told(head)
        self._give_back(head)
        return answer

    def _settle(self, holder: str) -> Any:
        head = self._mine(holder)
        if not head or head[EFFECTS_END_AT] > self._now:
            return 0
        head[STATE] = SETTLED
        self._set("claim", self._get("claim"), self._retention)
        self._unlock_home()
        return self._told(head)

    def _leave_in_doubt(self, holder: str, effects: int) -> None:
        head = self._mine(holder)
        if head:
            head[LEASE_UNTIL], head[EFFECTS_END_AT] = self._now, self._now + effects

    def _read(self) -> Any:
        if self._current():
            return [b"here", self._shown()]
        known = self._get("owner")
        if known:
            owner, home = unpack(known)
            if owner == self._id and home != self._home:
                return [b"at", home.encode()]
        return None

    def _lock(self, value: bytes) -> Any:
        held = self._get("lock")
        if held and held != value:
            return [b"locked", held]
        self._set("lock", value)
        return [b"taken", self._get("owner")]

    def _unlock(self, value: bytes) -> None:
        if self._get("lock") == value:
            self._delete("lock")

    def _ended(self, value: bytes, mark: str, owned: bytes, kept_for: int, keep: int, kept: bytes) -> None:
        if self._get("lock") != value:
            return
        self._delete("lock")
        if keep > 0:
            self._set("lock", kept, keep)
        self._mark_owner(mark, owned, kept_for)

    def _name(self, here: str, kept_for: int, replaced: str) -> Any:
        known = self._get("lock")
        if known and known.decode() not in {here, replaced}:
            return known
        self._set("lock", here.encode(), kept_for)
        return None

"""Two accounts in one gateway, which use the same references, ids and groups: neither ever learns of the other.

What callers do for both is put in any order. Then what was done for each is done once more, for a fresh account alone:
whatever is answered, and whatever is sent upstream, has to be the same. So nothing that one account did, knows or broke
has answered, blocked or slowed a call for the other.
"""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import job_pb2
from allocation.v1 import service_group_service_pb2 as groups_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.accounts import for_account, running_accounts
from support.status import failure_of
from support.world import HELD, LOST, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from support.accounts import Scene

EXAMPLES: Final = 10
# Half of it is longer than anything takes here but a call that waits in vain, which the gateway ends by itself then.
LONG: Final = 14.0
# Longer than a script takes: what is held ends when it is let go.
HELD_FOR: Final = 600.0
# Requests that there are, after which an account has no more of them to send.
REQUESTS: Final = 64
# Of each account. Whatever ends by itself after a while does so when nobody looks any more.
LIMITS: Final = f"""
max_attempts = 1
max_in_flight = 2
queue_time = 0.05
rate_limit = 0.0001
rate_burst = {REQUESTS}
breaker_min_calls = 6
breaker_window = 600.0
breaker_failure_ratio = 0.6
breaker_open_time = 600.0
timeout = 600.0
settle_time = 600.0
"""
SETTINGS: Final = {
    "DEADLINE_MARGIN": str(LONG / 2),
    "LOCK_WAIT": "0.1",
    "STREAM_OUTAGE_TIME": "0.3",
    "SERVICE_GROUP_REFRESH": "true",
}


class Pool:
    """Accounts that nothing was done for yet."""

    def __init__(self, scene: Scene, names: Sequence[str]) -> None:
        self.scene = scene
        self._names = iter(names)

    def take(self) -> str:
        """Returns one of them."""
        return next(self._names)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    # More than are needed: what has failed is tried once more.
    names = [f"account-{number}" for number in range(6 * EXAMPLES)]
    folder = tmp_path_factory.mktemp("accounts")
    with running_accounts(folder, names, more=LIMITS, **SETTINGS) as scene:
        yield Pool(scene, names)
        assert scene.worlds.wrong == [], "a request bore the key of another account"


@dataclass
class Account:
    """One account, and what its caller has seen.

    Attributes:
        scene: The gateway.
        name: The account.
        seen: What came of each call, in the order in which it was made.
        threads: Make calls that wait.
        held: The calls that wait for upstream, with their places in what is seen.
        held_call: What they ask for.
        is_spent: Whether nothing can be sent any more.
    """

    scene: Scene
    name: str
    threads: ThreadPoolExecutor
    seen: list[object] = field(default_factory=list)
    held: list[tuple[int, Future[object]]] = field(default_factory=list)
    held_call: tuple[int, int] = (0, 0)
    is_spent: bool = False

    def begin(self, one: int, two: int) -> Future[object]:
        """Makes a call whose result takes the place of what is seen next."""
        future = self.threads.submit(allocated, self, one, two, HELD_FOR)
        self.held.append((len(self.seen), future))
        return future

    def told(self, call: Callable[[], Any]) -> object:
        """Makes a call, and returns what it tells: nothing that another account or another time could change."""
        try:
            response = call()
        except grpc.RpcError as error:
            found = failure_of(error)
            assert found.reason, f"not the gateway's own: {found}"
            return found.code.name, found.reason, found.metadata.get("effect")
        if hasattr(response, "allocation"):
            allocation = response.allocation
            return allocation.shipment_reference, allocation.state, allocation.reconciled, allocation.carrier.name
        return response.SerializeToString(deterministic=True)

    def call(self, rpc: str, request: Any, timeout: float = LONG) -> object:
        """Makes a call for the account."""
        method = getattr(self.scene.stub, rpc)
        return self.told(lambda: method(request, timeout=timeout, metadata=for_account(self.name)))

    def upstream(self) -> object:
        """Returns what came to its world."""
        world = self.scene.world(self.name)
        return Counter(line.replace(self.name, "") for line in world.written), world.bookings

    def end(self) -> None:
        """Lets go what is held."""
        self.scene.world(self.name).release.set()
        for number, future in self.held:
            self.seen[number] = future.result(LONG)
        self.held.clear()


def reference(number: int) -> str:
    return f"sp_{number}"


def request_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def allocate(account: Account, one: int, two: int) -> object:
    """Makes an allocation; in the background if it is the one that waits for upstream, which it joins."""
    if account.held and (one, two) == account.held_call:
        account.begin(one, two)
        return "held"
    return allocated(account, one, two, LONG)


def allocated(account: Account, one: int, two: int, timeout: float) -> object:
    request = pb.AllocateShipmentRequest(shipment_reference=reference(one), request_id=request_id(two))
    return account.call("AllocateShipment", request, timeout)


def fated(fate: str) -> Callable[[Account, int, int], object]:
    """Makes an allocation, and has this become of what is sent for it."""

    def step(account: Account, one: int, two: int) -> object:
        fates = account.scene.world(account.name).fates
        fates.put(fate)
        seen = allocate(account, one, two)
        while not fates.empty():
            fates.get()
        return seen

    return step


def with_group(account: Account, one: int, two: int) -> object:
    request = pb.AllocateShipmentWithServiceGroupRequest(
        shipment_reference=reference(one), request_id=request_id(two + 10), service_group=f"group-{two}"
    )
    return account.call("AllocateShipmentWithServiceGroup", request)


def deallocate(account: Account, one: int, two: int) -> object:
    request = pb.DeallocateShipmentRequest(shipment_reference=reference(one), request_id=request_id(two + 20))
    return account.call("DeallocateShipment", request)


def read(account: Account, one: int, _: int) -> object:
    return account.call("GetShipmentAllocation", pb.GetShipmentAllocationRequest(shipment_reference=reference(one)))


def stream(account: Account, _: int, two: int) -> object:
    """Does a job of two shipments, which no other job has, and as whose items both accounts have the same ids."""
    if account.is_spent:
        return "it would wait for what does not come"
    job = job_pb2.AllocationJob(job_id=request_id(two + 30), wait_for=job_pb2.WAIT_FOR_QUEUED)
    items = [pb.ShipmentItem(shipment_reference=reference(number + 10)) for number in (2 * two, 2 * two + 1)]
    method: Any = account.scene.stub.AllocateShipmentStream
    request = pb.AllocateShipmentStreamRequest(job=job, items=items)
    found: dict[str, object] = {}
    try:
        for told in method(iter([request]), timeout=LONG, metadata=for_account(account.name)):
            for outcome in told.results.results:
                kind = outcome.WhichOneof("outcome")
                refused = getattr(outcome, kind).code if kind in {"refusal", "unknown"} else 0
                found[outcome.shipment_reference] = kind, refused
    except grpc.RpcError as error:
        return failure_of(error).reason
    return found


def groups(account: Account, _one: int, two: int) -> object:
    """Asks which groups are known, and now and then has them forgotten."""
    stub, metadata = account.scene.groups, for_account(account.name)
    if two == 0:
        return account.told(
            lambda: stub.RefreshServiceGroups(groups_pb.RefreshServiceGroupsRequest(), timeout=LONG, metadata=metadata)
        )
    listed = stub.ListServiceGroups(groups_pb.ListServiceGroupsRequest(), timeout=LONG, metadata=metadata)
    assert {group.account for group in listed.service_groups} <= {account.name}
    return [group.code for group in listed.service_groups]


def breaks(account: Account, one: int, two: int) -> object:
    """Has upstream fail until its breaker is open."""
    world = account.scene.world(account.name)
    account.is_spent = True
    world.readable = False
    seen = [read(account, one, two) for _ in range(10)]
    world.readable = True
    return seen


def floods(account: Account, one: int, two: int) -> object:
    """Sends all that may be sent: how much that still is depends on how often others have asked for their turn."""
    account.is_spent = True
    return [read(account, one, two) for _ in range(REQUESTS + 1)][-1]


def holds(account: Account, one: int, two: int) -> object:
    """Begins an allocation that upstream does not answer for now, or makes the same call once more, to join it."""
    world = account.scene.world(account.name)
    if account.held:
        account.begin(*account.held_call)
        return "held"
    account.held_call = one, two
    world.arrived.clear()
    world.release.clear()
    world.fates.put(HELD)
    future = account.begin(one, two)
    while not future.done() and not world.arrived.wait(0.01):
        pass
    while not world.fates.empty():
        world.fates.get()
    return "held"


def lets_go(account: Account, _one: int, _two: int) -> object:
    account.end()
    return "let go"


STEPS: Final[dict[str, Callable[[Account, int, int], object]]] = {
    "allocate": allocate,
    "allocate, answer lost": fated(LOST),
    "allocate, refused": fated(REFUSED),
    "with group": with_group,
    "deallocate": deallocate,
    "read": read,
    "stream": stream,
    "groups": groups,
    "hold": holds,
    "let go": lets_go,
    "break": breaks,
    "flood": floods,
}
# What is done often, and what ends nearly all that can be done for an account.
CHOICES: Final = [*STEPS, *(name for name in STEPS if name not in {"break", "flood"})]
# For the one, the other, or both.
SCRIPTS: Final = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ab"]), st.sampled_from(CHOICES), st.integers(0, 1), st.integers(0, 2)),
    min_size=6,
    max_size=14,
)


def carried_out(
    script: Sequence[tuple[str, str, int, int]], accounts: dict[str, Account]
) -> dict[str, tuple[list[object], object]]:
    """Carries out what a script says of some accounts. Returns what their callers and their worlds have seen."""
    try:
        for whose, step, one, two in script:
            for account in (accounts[name] for name in whose if name in accounts):
                account.seen.append(STEPS[step](account, one, two))
    finally:
        for account in accounts.values():
            account.end()
    return {name: (account.seen, account.upstream()) for name, account in accounts.items()}


# Accounts are used up: there are none to make an example smaller with.
@settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate))
@given(script=SCRIPTS)
def test_what_one_account_does_is_the_same_whatever_is_done_for_another(
    pool: Pool, script: list[tuple[str, str, int, int]]
) -> None:
    with ThreadPoolExecutor(64) as threads:
        together = carried_out(script, {name: Account(pool.scene, pool.take(), threads) for name in "ab"})
        for name in "ab":
            alone = carried_out(script, {name: Account(pool.scene, pool.take(), threads)})
            assert together[name] == alone[name], f"account {name} was not apart"

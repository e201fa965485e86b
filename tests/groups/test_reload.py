"""The catalogue file changes under a running gateway, with calls going on: within two seconds, and no call fails."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import service_group_service_pb2 as groups_pb
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation.v1.service_group_service_pb2_grpc import ServiceGroupServiceStub
from allocation_gateway.following import SETTLE
from allocation_gateway.groups.watcher import INTERVAL
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.front import FORGETTING, LONG, SHIPMENT, Front, running_front
from support.status import failure, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOON: Final = 2.0
# What may take so long on a machine that has nothing else to do is waited for longer.
LATE: Final = 15.0
# How often it is tried to write fast enough.
TRIES: Final = 5
HEALTH: Final = "allocation.v1.ServiceGroupService/catalogue"
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


def toml(**names: str) -> str:
    """Returns a complete catalogue of Ship: each code with its name."""
    groups = "".join(
        f'[[service_groups]]\ncode = "{code}"\ndisplay_name = "{name}"\napi = "ship"\n' for code, name in names.items()
    )
    return f'complete = ["ship"]\n{groups}' if groups else "service_groups = []"


def yaml(**names: str) -> str:
    groups = "".join(f"  - {{code: {code}, display_name: {name}, api: ship}}\n" for code, name in names.items())
    return f"complete: [ship]\nservice_groups:\n{groups}"


def in_place(file: Path, text: str) -> None:
    """As an editor does that keeps the file."""
    with file.open("w") as opened:
        for part in (text[: len(text) // 2], text[len(text) // 2 :]):
            opened.write(part)
            opened.flush()


def replaced(file: Path, text: str) -> None:
    """As a careful program does."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.rename(file)


def swapped(file: Path, text: str) -> None:
    """As Kubernetes does with a ConfigMap: `..data` is a link to the folder that counts, and is moved over."""
    folder = file.parent
    data = folder / f"..{time.monotonic_ns()}"
    data.mkdir()
    (data / file.name).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(data.name)
    link.rename(folder / "..data")
    if not file.is_symlink():
        file.symlink_to(f"..data/{file.name}")


def allocate(front: Front, group: str) -> str:
    """Allocates with a group. Returns the path that was called upstream."""
    request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=SHIPMENT, service_group=group)
    front.stub.AllocateShipmentWithServiceGroup(request, timeout=LONG)
    return front.upstream.next_request().line.split(" ")[1].rpartition("/")[2]


def health(front: Front, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(front.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LONG).status)


def until(holds: Callable[[], bool], bound: float = LATE) -> float:
    """Asks again until something holds. Returns how long that took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < bound, "it does not hold in time"
    return time.monotonic() - started


@contextmanager
def going_on(front: Front, group: str) -> Iterator[list[str]]:
    """Calls go on all the time. Yields the failures so far; there must be none at the end."""
    failures: list[str] = []
    end = threading.Event()
    made = 0

    def call() -> None:
        nonlocal made
        request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=SHIPMENT, service_group=group)
        while not end.is_set():
            try:
                front.stub.AllocateShipmentWithServiceGroup(request, timeout=LONG)
            except grpc.RpcError as error:
                failures.append(f"{error}")
            made += 1

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield failures
    finally:
        end.set()
        thread.join(LONG)
    assert not failures
    assert made > 0


def known(front: Front, group: str) -> bool:
    """Tells whether the gateway knows a group."""
    stub = ServiceGroupServiceStub(front.channel)
    try:
        stub.GetServiceGroup(groups_pb.GetServiceGroupRequest(service_group=group), timeout=LONG)
    except grpc.RpcError as error:
        if failure_of(error).reason == "SERVICE_GROUP_NOT_FOUND":
            return False
        raise
    return True


@contextmanager
def strict_front(file: Path) -> Iterator[Front]:
    with running_front(
        settings=FORGETTING, SERVICE_GROUP_CATALOGUE_FILE=str(file), SERVICE_GROUP_POLICY="strict"
    ) as front:
        yield front


def test_a_change_is_noticed_within_two_seconds() -> None:
    """Whenever it is made: at the next look, and once it has stood for a while."""
    assert INTERVAL + SETTLE <= 0.75 * SOON, "reading it takes time too"


@pytest.mark.parametrize("ending", ["toml", "yaml"])
@pytest.mark.parametrize("change", [in_place, replaced, swapped])
def test_a_group_that_is_added_is_soon_usable_and_no_call_fails(
    change: Callable[[Path, str], None], ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"groups.{ending}"
    text = toml if ending == "toml" else yaml
    (swapped if change is swapped else replaced)(file, text(one="First"))
    with strict_front(file) as front:
        assert allocate(front, "First") == "one"
        request = pb.AllocateShipmentWithServiceGroupRequest(shipment_reference=SHIPMENT, service_group="Second")
        told = failure(lambda: front.stub.AllocateShipmentWithServiceGroup(request, timeout=LONG))
        assert told.reason == "SERVICE_GROUP_NOT_FOUND"
        with going_on(front, "First"):
            for number in range(2):
                change(file, text(one="First", two="Second", **{f"more{number}": f"More {number}"}))
                until(lambda number=number: known(front, f"More {number}"))  # type: ignore[misc]
        front.upstream.forget()
        assert allocate(front, "Second") == "two"
        assert not known(front, "More 0")


def test_a_bad_edit_keeps_the_last_good_catalogue_and_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "groups.toml"
    file.write_text(toml(one="First"))
    with strict_front(file) as front:
        assert health(front, HEALTH) == SERVING
        with going_on(front, "First"):
            in_place(file, '[[service_groups]]\ncode = "one"\napi = "boat"')
            line = front.gateway.wait_for("service_group_catalogue_rejected", LATE)
            assert (line["level"], line["line"], line["key"]) == ("error", 3, "service_groups[0].api")
            assert line["problems"] == "line 3, service_groups[0].api: must be ship or consignments"
            until(lambda: health(front, HEALTH) == NOT_SERVING)
            assert health(front, "") == SERVING, "the gateway goes on"
            assert known(front, "First")
            file.unlink()
            front.gateway.wait_for(
                "service_group_catalogue_rejected", LATE, problems="cannot be read: No such file or directory"
            )
            assert known(front, "First")
            file.write_text(toml(one="First", two="Second"))
            until(lambda: health(front, HEALTH) == SERVING)
            assert known(front, "Second")
        assert len([line for line in front.gateway.lines if line["event"] == "service_group_catalogue_rejected"]) == 2


def test_a_file_that_is_half_written_does_not_count(tmp_path: Path) -> None:
    """Its first half is a good catalogue, which lacks a group that callers use."""
    file = tmp_path / "groups.toml"
    text = toml(one="First", two="Second")
    file.write_text(text)
    with strict_front(file) as front:
        for _ in range(TRIES):
            until(lambda: known(front, "Second"))
            longest = SETTLE
            try:
                with going_on(front, "Second"):
                    longest = written_in_halves(file, text)
            except AssertionError:
                # A half that stood for so long, since the machine was busy, may count.
                if longest < SETTLE / 2:
                    raise
            else:
                return
    raise AssertionError("too slow to show anything")


def written_in_halves(file: Path, text: str) -> float:
    """Writes a file again and again. Returns for how many seconds a half of it stood at most."""
    half = text.index("[[service_groups]]", text.index("[[") + 1)
    longest = 0.0
    for _ in range(20):
        with file.open("w") as opened:
            began = time.monotonic()
            opened.write(text[:half])
            opened.flush()
            threading.Event().wait(SETTLE / 4)
            opened.write(text[half:])
        longest = max(longest, time.monotonic() - began)
        threading.Event().wait(INTERVAL / 7)
    return longest


def test_without_a_catalogue_there_is_no_health_of_one() -> None:
    with running_front() as front:
        assert failure(lambda: health(front, HEALTH)).code is grpc.StatusCode.NOT_FOUND


def test_a_virtual_service_reference_is_never_resolved(tmp_path: Path) -> None:
    file = tmp_path / "groups.toml"
    file.write_text(toml(one="First"))
    with strict_front(file) as front:
        request = pb.AllocateShipmentWithVirtualServiceRequest(
            shipment_reference=SHIPMENT, virtual_service_reference="First"
        )
        front.stub.AllocateShipmentWithVirtualService(request, timeout=LONG)
        assert front.upstream.next_request().line.split(" ")[1].endswith("/virtual_service/First")


def test_a_bulk_call_takes_names_too_and_an_unknown_group_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "groups.toml"
    file.write_text(toml(one="First"))
    with strict_front(file) as front:
        front.upstream.answer(202, {"message": "1 shipment queued", "queued": [SHIPMENT], "rejected": []})
        request = pb.AllocateShipmentsWithServiceGroupRequest(shipments=[SHIPMENT], service_group="FIRST")
        front.stub.AllocateShipmentsWithServiceGroup(request, timeout=LONG)
        assert b'"service_group":"one"' in front.upstream.next_request().body
        request.service_group = "Fist"
        told = failure(lambda: front.stub.AllocateShipmentsWithServiceGroup(request, timeout=LONG))
        assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SERVICE_GROUP_NOT_FOUND")
        assert told.metadata == {"effect": "none"}
        assert 'Did you mean "one" (First)?' in told.message
        assert front.upstream.received.empty()

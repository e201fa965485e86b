"""A key that is replaced in its file is used without a restart, and without a failed call."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from support.front import LONG, READ, Front, another_write, running_front
from support.gateway import COMMAND, PREFIX, environment, running_gateway
from support.status import failure
from support.upstream import Received, Reply, running_upstream, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.command import Command

OLD: Final = "the-old-key-that-nobody-may-see"
NEW: Final = "the-new-key-that-nobody-may-see"
REFUSAL: Final = {"code": "unauthorised", "message": "", "details": [{"code": "invalid_api_key", "message": ""}]}
# One attempt, so that nothing but the new key can be why a call succeeds.
ONCE: Final = {"SHIP_MAX_ATTEMPTS": "1", "SHIP_BREAKER_MIN_CALLS": "1000000"}


class Mount:
    """A file as Kubernetes mounts a secret: a symbolic link to it through a folder that is swapped as a whole."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._count = 0
        self.file = folder / "key"
        self.write(key)
        self.file.symlink_to(folder / "..data" / "key")

    def write(self, content: str) -> None:
        """Replaces what the file holds, in one step."""
        self._count += 1
        version = self._folder / f"..{self._count}"
        version.mkdir()
        (version / "key").write_text(content)
        link = self._folder / "..new"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")


class Doorman:
    """An upstream's rule of which keys it accepts."""

    def __init__(self, *accepted: str) -> None:
        self.accepted = set(accepted)
        self.refused = 0

    def __call__(self, received: Received) -> Reply:
        key = received.headers["x-api-key"]
        if key in self.accepted:
            return shipped(received)
        self.refused += 1
        return Reply(401, REFUSAL)


@contextmanager
def guarded(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[tuple[Front, Mount, Doorman]]:
    """Runs a gateway whose key is in a file, in front of an upstream that accepts the old one."""
    mount, doorman = Mount(folder, OLD), Doorman(OLD)
    with running_upstream() as upstream:
        upstream.default = doorman
        given = {"SHIP_API_KEY": "", "SHIP_API_KEY_FILE": str(mount.file), **ONCE, **(settings or {})}
        with running_front(upstream, settings=given) as front:
            yield front, mount, doorman


def read(front: Front) -> None:
    front.stub.GetShipmentAllocation(READ, timeout=LONG)


def keys(front: Front) -> list[str]:
    """Returns the keys of the requests so far."""
    found = []
    while not front.upstream.received.empty():
        found.append(front.upstream.next_request().headers["x-api-key"])
    return found


@pytest.mark.parametrize("engine", ["direct", "httpx"])
def test_no_call_fails_while_a_key_is_replaced_under_load(engine: str, tmp_path: Path) -> None:
    """Upstream accepts both for a while, and then the new one alone."""
    with guarded(tmp_path, {"HTTP_ENGINE": engine}) as (front, mount, doorman):
        done = threading.Event()
        failures: list[grpc.RpcError] = []

        def work() -> None:
            while not done.is_set():
                try:
                    read(front)
                    front.stub.AllocateShipment(another_write(), timeout=LONG)
                except grpc.RpcError as error:
                    failures.append(error)

        with ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(work) for _ in range(4)]
            try:
                for _ in range(8):
                    front.upstream.next_request()  # they are all at it
                doorman.accepted.add(NEW)
                mount.write(NEW + "\n")
                front.gateway.wait_for("api_key_loaded", api="ship", file=str(mount.file))
                doorman.accepted.discard(OLD)
                keys(front)
                read(front)
            finally:
                done.set()
        for worker in workers:
            worker.result()
        assert failures == []
        assert keys(front)[-1] == NEW
        assert front.gateway.stop() == 0
    assert OLD not in f"{front.gateway.lines}"
    assert NEW not in f"{front.gateway.lines}"


def test_key_that_is_refused_is_looked_for_at_once_and_no_call_fails(tmp_path: Path) -> None:
    """Upstream has replaced it at the same moment, and there was no time to notice."""
    with guarded(tmp_path) as (front, mount, doorman):
        read(front)
        for number in range(3):
            key = f"{NEW}-{number}"
            doorman.accepted = {key}
            mount.write(key)
            if number == 1:
                front.stub.AllocateShipment(another_write(), timeout=LONG)
            else:
                with ThreadPoolExecutor(16) as pool:
                    list(pool.map(lambda _: read(front), range(16)))
        assert doorman.refused >= 3


def test_refusal_without_a_new_key_is_told_and_sends_nothing_again(tmp_path: Path) -> None:
    with guarded(tmp_path) as (front, _, doorman):
        doorman.accepted = {NEW}
        told = failure(lambda: read(front))
        assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "UPSTREAM_CREDENTIALS_REJECTED")
        assert keys(front) == [OLD]


@pytest.mark.parametrize("body", [b"", b"<html>", ["no"]], ids=["empty", "a page", "other JSON"])
def test_write_that_is_refused_by_somebody_else_is_not_sent_again(body: object, tmp_path: Path) -> None:
    """Whoever stands in between knows nothing of what upstream has done. The new key counts for what comes after."""
    with guarded(tmp_path) as (front, mount, doorman):
        doorman.accepted = {NEW}
        release = front.upstream.hold(401, body)
        call = front.stub.AllocateShipment.future(another_write(), timeout=3.0)
        sent = [front.upstream.next_request()]
        mount.write(NEW)
        release.set()
        call.exception()
        while not front.upstream.received.empty():
            sent.append(front.upstream.next_request())
        assert [received.headers["x-api-key"] for received in sent if received.line.startswith("PUT ")] == [OLD]
        front.gateway.wait_for("api_key_loaded")


@pytest.mark.parametrize(
    ("content", "problem"),
    [("", "the file is empty"), ("\n", "the file is empty"), ("a\nb", "cannot be sent"), (None, "cannot be read")],
    ids=["empty", "blank", "two lines", "missing"],
)
def test_file_that_cannot_be_used_leaves_the_last_good_key_in_use(
    content: str | None, problem: str, tmp_path: Path
) -> None:
    with guarded(tmp_path) as (front, mount, doorman):
        if content is None:
            mount.file.unlink()
        else:
            mount.write(content)
        assert problem in front.gateway.wait_for("api_key_rejected", api="ship", level="error")["problem"]
        read(front)
        assert keys(front) == [OLD]
        doorman.accepted = {NEW}
        if content is None:
            mount.file.symlink_to(tmp_path / "..data" / "key")
        mount.write(NEW)
        front.gateway.wait_for("api_key_loaded")
        read(front)
        assert keys(front)[-1] == NEW


def test_keys_before_are_taken_out_of_answers_too(tmp_path: Path) -> None:
    with guarded(tmp_path) as (front, mount, doorman):
        doorman.accepted = {NEW}
        mount.write(NEW)
        read(front)
        quoting: dict[str, Any] = {"code": "validation_error", "details": [{"code": OLD, "message": f"{OLD} {NEW}"}]}
        front.upstream.answer(400, quoting)
        told = failure(lambda: read(front))
        assert not [detail for detail in told.details if OLD.encode() in detail.value or NEW.encode() in detail.value]
        assert OLD not in f"{told}"


def test_hangup_reads_the_files_again_and_ends_nothing(tmp_path: Path) -> None:
    """Also in the middle of a call, and again and again."""
    with guarded(tmp_path) as (front, mount, doorman):
        release = front.upstream.hold(200, {"reference": READ.shipment_reference, "state": "unallocated"})
        call = front.stub.GetShipmentAllocation.future(READ, timeout=LONG)
        front.upstream.next_request()
        for _ in range(3):
            front.gateway.process.send_signal(signal.SIGHUP)
        front.gateway.wait_for("rereading_files")
        release.set()
        assert call.result() is not None
        doorman.accepted = {NEW}
        mount.write(NEW)
        front.gateway.process.send_signal(signal.SIGHUP)
        front.gateway.wait_for("api_key_loaded")
        read(front)
        assert front.gateway.stop() == 0


def ignores_hangup(pid: int) -> bool:
    """Tells whether a process that is starting has begun to ignore the signal."""
    ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
    return bool(int(ignored, 16) >> (signal.SIGHUP - 1) & 1)


def test_hangup_during_the_start_does_not_end_the_process() -> None:
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": OLD, "PORT": "0", "SHUTDOWN_DELAY": "0"}
    given = environment({**settings, "SERVICE_GROUP_LISTING": "false"})
    with subprocess.Popen([COMMAND, "serve"], env=given, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + LONG
            while not ignores_hangup(process.pid):
                assert process.poll() is None
                assert time.monotonic() < end, "the signal is not ignored while it starts"
            process.send_signal(signal.SIGHUP)
            assert process.stderr is not None
            assert any('"listening"' in line for line in process.stderr)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LONG)
        finally:
            process.kill()
    assert process.returncode == 0


def test_hangup_without_files_to_read_does_not_end_the_process() -> None:
    with running_upstream() as upstream:
        upstream.default = shipped
        settings = {"ALLOW_PLAINTEXT": "true", "SHIP_BASE_URL": upstream.url, "SHIP_API_KEY": OLD}
        with running_gateway(settings) as gateway:
            gateway.process.send_signal(signal.SIGHUP)
            gateway.wait_for("rereading_files")
            with grpc.insecure_channel(gateway.address) as channel:
                ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG)


def test_hangup_reaches_all_workers(tmp_path: Path) -> None:
    settings = {"WORKERS": "2", "ALLOW_UNSHARED_CLAIMS": "true"}
    with guarded(tmp_path, settings) as (front, mount, doorman):
        doorman.accepted = {NEW}
        mount.write(NEW)
        os.kill(front.gateway.process.pid, signal.SIGHUP)
        for worker in (1, 2):
            front.gateway.wait_for("rereading_files", worker=worker)
            front.gateway.wait_for("api_key_loaded", worker=worker)
        assert front.gateway.stop() == 0


def test_check_reads_the_key_as_it_is_now(tmp_path: Path, command: Command) -> None:
    mount = Mount(tmp_path, OLD)
    settings = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY_FILE": str(mount.file)}
    with running_upstream() as upstream:
        upstream.default = Doorman(NEW)
        settings["SHIP_BASE_URL"] = upstream.url
        refused = command("check", "--upstream", **settings)
        assert refused.err.startswith(f"allocation-gateway: {PREFIX}SHIP_API_KEY: upstream does not accept the key")
        mount.write(NEW)
        assert "SHIP_API_KEY" not in command("check", "--upstream", **settings).err
        mount.write("")
        assert "SHIP_API_KEY_FILE: the file is empty" in command("check", "--upstream", **settings).err

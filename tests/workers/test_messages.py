"""What a supervisor hands to its workers is what it has read."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
from allocation_gateway.settings import Settings
from allocation_gateway.workers import messages
from allocation_gateway.workers.messages import WorkerTask
from support.front import KEY


def received(line: bytes) -> messages.Task | None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(line)
        ours.shutdown(socket.SHUT_WR)
        return messages.receive_task(theirs)


def test_settings_of_every_kind_arrive_as_they_were() -> None:
    told = msgspec.json.decode(
        f"""{{"workers": 3, "default_deadline": 0.1, "reflection": false, "log_format": "console", "host": "[::1]",
        "ship": {{"api_key": "{KEY}", "routes": {{"CreateShipmentQuotes": "get"}}}}, "tls_cert_file": "/a file",
        "service_groups": ["one", "zwölf"], "health_port": 7}}""",
        type=Settings,
        dec_hook=lambda kind, value: kind(value),
    )
    task = received(messages.encode(WorkerTask(2, told)))
    assert isinstance(task, WorkerTask)
    assert task.number == 2
    assert repr(task.settings) == repr(told)
    assert task.settings.ship.api_key.reveal() == KEY
    assert not task.settings.consignments.api_key
    assert task.settings.tls_cert_file == Path("/a file")
    assert KEY not in repr(task)


def test_supervisor_that_has_gone_leaves_no_task() -> None:
    whole = messages.encode(WorkerTask(1, Settings()))
    assert received(b"") is None
    assert received(whole[:-1]) is None

"""Counts the instructions of a running process, where the machine allows it: they hardly depend on its other work."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench.processes import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSCALLS: Final = {"x86_64": 298, "aarch64": 241}
_HARDWARE: Final = 0
_INSTRUCTIONS: Final = 1
# The part of struct perf_event_attr that every kernel knows.
_SIZE: Final = 64
_INHERIT: Final = 1 << 1
_EXCLUDE_HYPERVISOR: Final = 1 << 6


class NotCountedError(Exception):
    """The machine does not let instructions be counted. The text says why."""


class Counter:
    """Counts an event in all threads of a process, and of all that it started, from now on."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def read(self) -> int:
        """Returns how many there have been so far."""
        return sum(struct.unpack("q", os.read(descriptor, 8))[0] for descriptor in self._descriptors)


@contextmanager
def counting(pid: int, kind: int = _HARDWARE, event: int = _INSTRUCTIONS) -> Iterator[Counter]:
    """Counts an event of a process, by default its instructions in user and kernel mode.

    Args:
        pid: The process.
        kind: The `type` of struct perf_event_attr.
        event: Its `config`.

    Raises:
        NotCountedError: The machine, or what it runs in, does not allow it.
    """
    descriptors: list[int] = []
    try:
        for one in tree(pid):
            descriptors += [_open(int(thread), kind, event) for thread in os.listdir(f"/proc/{one}/task")]  # noqa: PTH208
        yield Counter(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def can_count() -> bool:
    """Tells whether instructions can be counted here."""
    try:
        with counting(os.getpid()) as counter:
            return counter.read() > 0
    except NotCountedError:
        return False


def _open(thread: int, kind: int, event: int) -> int:
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise NotCountedError(f"not known how to on {platform.machine()}")
    # Threads that are started later are counted too.
    attributes = struct.pack("IIQQQQQ", kind, _SIZE, event, 0, 0, 0, _INHERIT | _EXCLUDE_HYPERVISOR).ljust(_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.syscall(number, ctypes.create_string_buffer(attributes, _SIZE), thread, -1, -1, 8)
    if descriptor < 0:
        raise NotCountedError(os.strerror(ctypes.get_errno()))
    return descriptor

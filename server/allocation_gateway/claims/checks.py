"""What is asked of a server before it keeps claims: whether it takes writes, and keeps what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis.exceptions import NoPermissionError, ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What is asked of it.
COMMANDS: Final = (("INFO", "memory"), ("INFO", "persistence"), ("INFO", "replication"))


class UnusableServerError(Exception):
    """The server cannot be used as it is configured. The text says why, for the operator."""


class UnsafeServerError(UnusableServerError):
    """The server may lose claims, which the checks do not allow."""


class ReplicaError(ReadOnlyError):
    """The server is a replica, which takes no writes. The text tells where its primary is."""


def read(answers: Sequence[object]) -> Mapping[str, str]:
    """Reads the answers to the commands: what the server tells of itself, by name.

    Raises:
        NoPermissionError: It tells nothing to this user.
        Exception: It has answered another error.
    """
    told: dict[str, str] = {}
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        text = answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
        for line in text.splitlines():
            name, separator, value = line.partition(":")
            if separator:
                told[name] = value
    return told


def check(answers: Sequence[object]) -> str:
    """Returns what is wrong with a server; nothing if it keeps what it is given.

    Raises:
        ReplicaError: It is a replica.
        Exception: It has answered an error.
    """
    try:
        told = read(answers)
    except NoPermissionError:
        return "does not let its INFO be read: the user of the URL needs +info"
    if told.get("role") == "slave":
        raise ReplicaError(f"{told.get('master_host', 'unknown')}:{told.get('master_port', 'unknown')}")
    policy = told.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        return f"has the maxmemory-policy {policy}, which must be noeviction"
    return "" if told.get("aof_enabled") == "1" else "keeps no append-only file (appendonly yes)"

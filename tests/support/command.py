"""Runs a command of the gateway within this process: a process of its own takes a second."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import pytest
import structlog
from allocation_gateway import cli

from support import canaries
from support.gateway import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """Runs commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, trusted: str = "", **settings: str) -> Done:
        """Runs a command with settings, and with a file of authorities to trust."""
        with self._monkeypatch.context() as context:
            for name, value in settings.items():
                context.setenv(PREFIX + name, value)
            if trusted:
                context.setenv("SSL_CERT_FILE", trusted)
            self._capsys.readouterr()
            try:
                code = cli.main(arguments)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        done = Done(code, *self._capsys.readouterr())
        canaries.search("the output of a command", done.out + done.err)
        return done


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Runs commands, and puts the logging of this process back afterwards."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield Command(monkeypatch, capsys)
    structlog.reset_defaults()
    for handler in set(logging.root.handlers) - set(handlers):
        logging.root.removeHandler(handler)
    logging.root.setLevel(level)

"""The options that every command has: where the gateway is, how to reach it, and what to print."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from allocation_gateway_client.base import named
from allocation_gateway_client.cli import failures, profiles
from allocation_gateway_client.cli.output import Output
from allocation_gateway_client.client import Client
from allocation_gateway_client.errors import AllocationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from allocation_gateway_client.cli.profiles import Profile

_FILE: Final = click.Path(dir_okay=False)
_OPTIONS: Final = (
    click.option("--profile", "-p", metavar="NAME", help="a profile of the file of profiles [default: default]"),
    click.option(
        "--profiles",
        type=click.Path(dir_okay=False, path_type=Path),
        help="that file [default: allocctl/profiles.toml]",
    ),
    click.option("--address", metavar="HOST:PORT", help=f"the gateway [default: {profiles.DEFAULT_ADDRESS}]"),
    click.option("--plaintext/--tls", "plaintext", default=None, help="do without TLS, as with the sandbox"),
    click.option("--ca-file", type=_FILE, help="the authorities to trust, PEM"),
    click.option("--certificate-file", type=_FILE, help="your certificate, PEM, for mutual TLS"),
    click.option("--key-file", type=_FILE, help="its private key, PEM"),
    click.option("--server-name", help="the name that the gateway's certificate has"),
    click.option("--token-file", type=_FILE, help="a file with a bearer token"),
    click.option("--account", help="the account of the gateway that it is for [default: the gateway chooses]"),
    click.option("--timeout", type=float, metavar="SECONDS", help="what a call may take with all repetitions [60]"),
    click.option("--json", "is_json", is_flag=True, help="print JSON, one line for each answer"),
)


@dataclass(frozen=True)
class Session:
    """What a command works with.

    Attributes:
        client: Calls the gateway.
        profile: How it is reached.
        output: Prints.
    """

    client: Client
    profile: Profile
    output: Output

    def make(self, requests: list[Message], show: Callable[[Message], None]) -> None:
        """Makes calls one after the other, prints each answer or failure, and ends the command."""
        codes = [self._exit_code(request, show) for request in requests]
        click.get_current_context().exit(failures.together(codes))

    def _exit_code(self, request: Message, show: Callable[[Message], None]) -> int:
        try:
            self._make(request, show)
        except AllocationError as error:
            self.output.failure(error)
            return failures.exit_code(error)
        return 0

    def _make(self, request: Message, show: Callable[[Message], None]) -> None:
        if "request_id" not in request.DESCRIPTOR.fields_by_name:
            show(self.client.call(request))
            return
        write: Any = named(request)
        try:
            show(self.client.call(write))
        except KeyboardInterrupt:
            self.output.errors.print(
                f"It may have been done or not: repeat the command{failures.of_account(self.profile.account)} with "
                f"--request-id {write.request_id} to learn.",
                markup=False,
            )
            click.get_current_context().exit(failures.INTERRUPTED)


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command these options, and a session as its first argument."""

    @functools.wraps(command)
    def run(*, profile: str | None, profiles: Path | None, is_json: bool, **given: Any) -> None:
        own = {name: given.pop(name) for name in _CONNECTION}
        loaded = _loaded(profiles, profile, own)
        with _client(loaded) as client:
            command(Session(client, loaded, Output(is_json=is_json)), **given)

    wrapped: Any = run
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    made: Callable[..., None] = wrapped
    return made


_CONNECTION: Final = (
    "address",
    "plaintext",
    "ca_file",
    "certificate_file",
    "key_file",
    "server_name",
    "token_file",
    "account",
    "timeout",
)


def _loaded(file: Path | None, name: str | None, own: dict[str, Any]) -> Profile:
    try:
        return profiles.load(file, name, own)
    except profiles.ProfileError as error:
        raise click.UsageError(str(error)) from None


def _client(profile: Profile) -> Client:
    try:
        return Client(**profile.options())
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{error}") from None

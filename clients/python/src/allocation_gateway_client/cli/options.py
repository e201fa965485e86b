"""The options that every command has: where the gateway is, how to reach it, and what to print."""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from allocation_gateway_client.base import named
from allocation_gateway_client.cli import failures, profiles
from allocation_gateway_client.cli.output import Output
from allocation_gateway_client.client import Client
from allocation_gateway_client.errors import AllocationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway_client.cli.profiles import Profile

_FILE: Final = click.Path(dir_okay=False)
# Bytes of the command line that are no UTF-8 become what no protobuf message takes.
_HALF: Final = re.compile("[\ud800-\udfff]")
_SECONDS: Final = click.FloatRange(min=0, min_open=True)
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
    click.option("--timeout", type=_SECONDS, metavar="SECONDS", help="what a call may take with all repetitions [60]"),
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
        is_write = "request_id" in request.DESCRIPTOR.fields_by_name
        made = named(request) if is_write else request
        again = self._again(made) if is_write else ""
        try:
            show(self.client.call(made))
        except AllocationError as error:
            self.output.failure(error, again)
            return failures.exit_code(error)
        except KeyboardInterrupt:
            if not is_write:
                raise
            about = ", ".join(failures.references(made))
            told = f"{about}: it may have been done or not. {failures.to_learn(again)}"
            self.output.errors.print(told, markup=False)
            click.get_current_context().exit(failures.INTERRUPTED)
        return 0

    def _again(self, write: Any) -> str:
        """Returns how a write is repeated, by its id and for its account."""
        context = click.get_current_context()
        if "request_id" in context.params:
            own = {"request_id": write.request_id, "account": self.profile.account or None}
            return f"run: {command_line(context, {**own, 'references': failures.references(write)})}"
        account = f" for account {self.profile.account}" if self.profile.account else ""
        return f'put "request_id": "{write.request_id}" into the JSON, and make the call again{account}.'


def command_line(context: click.Context, instead: Mapping[str, Any]) -> str:
    """Returns the command that was given, for a shell, with values instead of some of its own."""
    options, arguments = ["allocctl", context.info_name or ""], []
    for parameter in context.command.params:
        name = parameter.name or ""
        is_given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        value = instead.get(name, context.params.get(name) if is_given else None)
        if value is None:
            continue
        if isinstance(parameter, click.Argument):
            arguments += [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
        elif isinstance(value, bool):
            options.append(max(parameter.opts if value else parameter.secondary_opts, key=len))
        else:
            options += [max(parameter.opts, key=len), str(value)]
    return shlex.join([*options, *arguments])


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command these options, and a session as its first argument."""

    @functools.wraps(command)
    def run(*, profile: str | None, profiles: Path | None, is_json: bool, **given: Any) -> None:
        _check_texts()
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


def _check_texts() -> None:
    """Makes sure that what was given can be sent: bytes that are no UTF-8 arrive as half characters."""
    given = click.get_current_context().params.values()
    texts = [str(text) for value in given for text in (value if isinstance(value, tuple) else (value,))]
    if not_sent := [text for text in texts if _HALF.search(text)]:
        raise click.UsageError(f"{not_sent[0]!r} is not UTF-8")


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

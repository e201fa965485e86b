"""The command line: `allocation-gateway`."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from allocation_gateway import settings, stand_in
from allocation_gateway.settings import ConfigurationError, Secret, wording
from allocation_gateway.telemetry import credentials, logs, variables
from allocation_gateway.version import __version__
from allocation_gateway.workers import supervisor

# Commands import gRPC and what builds on it on demand: a process that supervises workers must not have it.

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import grpc

_USAGE_ERROR = 2
_INTERRUPTED = 130
_HEALTH_TIMEOUT = 3.0
# What allocctl, the client's command line, needs besides the client.
_OF_ALLOCCTL = ("click", "rich")
_SANDBOX = "sandbox"
# The groups of the sandbox by the names that people give them.
_SANDBOX_CATALOGUE = Path(__file__).parent / "groups" / "sandbox.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command. Returns the exit code: 0, 1 if the command failed, 2 if it could not begin."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == [_SANDBOX]:
            return stand_in.command(given[1:])
        options = _parser().parse_args(given)
        return int(options.run(options))
    except ConfigurationError as error:
        print(settings.KNOWN.without(f"allocation-gateway: {error}"), file=sys.stderr)
        return _USAGE_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="allocation-gateway",
        description="A gRPC gateway in front of Sorted's allocation APIs. It is configured by environment variables.",
    )
    parser.add_argument("--version", action="version", version=f"allocation-gateway {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    serve = commands.add_parser("serve", help="run the gateway")
    serve.add_argument(
        "--sandbox",
        nargs="?",
        const="",
        metavar="URL",
        help="start the sandbox too, and use it as upstream; with a URL: use the one that runs there",
    )
    serve.add_argument("--workers", type=_workers, metavar="N", help="processes that share the port (default: 1)")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="validate the configuration")
    check.add_argument("--upstream", action="store_true", help="also prove it with one harmless GET")
    check.set_defaults(run=_check)

    # It has a command line of its own: see main().
    commands.add_parser(_SANDBOX, help="run the sandbox alone, where it is installed")

    health = commands.add_parser("health", help="ask a gateway for its health")
    _add_called(health)
    health.set_defaults(run=_health)

    first = commands.add_parser(
        "demo", help="make the documented allocation through a gateway with a sandbox, any number of times"
    )
    _add_called(first)
    first.add_argument("--sandbox", default="http://127.0.0.1:8080", help="URL (default: %(default)s)")
    first.set_defaults(run=_demo)

    listing = commands.add_parser("settings", help="print every setting as a Markdown table")
    listing.set_defaults(run=_settings)
    return parser


def _add_called(command: argparse.ArgumentParser) -> None:
    """Adds the options of a command that calls a gateway."""
    command.add_argument("--address", default="127.0.0.1:50051", help="host:port (default: %(default)s)")
    command.add_argument("--ca-file", type=Path, help="use TLS, and trust these authorities (PEM)")
    command.add_argument("--server-name", help="the name that the certificate is for, if it is not that of --address")
    command.add_argument("--cert-file", type=Path, help="show this certificate, for mutual TLS (PEM)")
    command.add_argument("--key-file", type=Path, help="its private key (PEM)")


def _workers(text: str) -> int:
    """A parser of the option, by the rule of the setting."""
    try:
        return msgspec.convert(text, settings.Workers, strict=False)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(wording.sentence(settings.Workers, text, is_from_text=True)) from None


def _load(overrides: dict[str, Any] | None = None) -> settings.Settings:
    """Reads the configuration, checks what can be checked before OpenTelemetry is imported, and sets up logging."""
    loaded = settings.load(os.environ, overrides=overrides)
    variables.prepare(os.environ)
    credentials.note(os.environ)
    settings.check_early(loaded, os.environ, variables.check)
    logs.configure(loaded.log_level, loaded.log_format)
    return loaded


def _serve(options: argparse.Namespace) -> int:
    # It has files read again. Until it is listened to, it must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    overrides: dict[str, Any] = {} if options.workers is None else {"workers": options.workers}
    if options.sandbox is not None:
        overrides["allow_plaintext"] = True
        for api in settings.API_NAMES:
            overrides[f"{api}_base_url"] = stand_in.base_url(api, options.sandbox or "http://127.0.0.1")
            overrides[f"{api}_api_key"] = Secret(stand_in.KEY)
            overrides[f"{api}_api_key_file"] = None
    loaded = _load(overrides)
    logs.tell_crashes()
    if options.sandbox is not None:
        loaded = msgspec.structs.replace(loaded, is_sandboxed=True)
        if loaded.service_group_catalogue_file is None:
            loaded = msgspec.structs.replace(loaded, service_group_catalogue_file=_SANDBOX_CATALOGUE)
    with_sandbox = options.sandbox == ""
    on_ready = _invite if with_sandbox else lambda *_: None
    if loaded.workers > 1:
        return supervisor.run(loaded, with_sandbox=with_sandbox, on_ready=on_ready)
    import uvloop

    from allocation_gateway import app

    uvloop.run(app.serve(loaded, os.environ, with_sandbox=with_sandbox, on_ready=on_ready))
    return 0


def _invite(address: str, sandbox_url: str) -> None:
    """Prints a call that can be pasted into another terminal."""
    own = Path(sys.argv[0]).resolve()
    if all(importlib.util.find_spec(name) for name in _OF_ALLOCCTL):
        to = f"--plaintext --address {address} --group valuables"
        command = f"{own.with_name('allocctl')} allocate {to} {stand_in.SHIPMENT}"
    else:
        command = f"{own} demo --address {address} --sandbox {sandbox_url}"
    print(
        f"\nThe gateway listens on {address}. A first call, from a second terminal:\n\n    {command}\n",
        flush=True,
    )


def _check(options: argparse.Namespace) -> int:
    from allocation_gateway.release import check_settings

    loaded = _load()
    _, accounts = check_settings(loaded).accounts
    found = asyncio.run(_check_upstream([loaded, *accounts.values()])) if options.upstream else ""
    if found:
        print(f"allocation-gateway: {found}", file=sys.stderr)
        return 1
    print("The configuration is valid" + (", and upstream accepts it." if options.upstream else "."))
    return 0


async def _check_upstream(accounts: Iterable[settings.Settings]) -> str:
    from allocation_gateway.accounts.opening import configured_upstreams
    from allocation_gateway.upstream.check import problem

    for upstream in (one for account in accounts for one in configured_upstreams(account).values()):
        try:
            found = await problem(upstream)
        finally:
            await upstream.close()
        if found:
            return found
    return ""


def _demo(options: argparse.Namespace) -> int:
    from allocation_gateway import demo

    with _channel(options) as channel:
        return demo.run(channel, options.sandbox)


def _channel(options: argparse.Namespace) -> grpc.Channel:
    """Returns a channel to the gateway that options name."""
    import grpc

    needy = [name for name in ("server_name", "cert_file", "key_file") if getattr(options, name)]
    if needy and options.ca_file is None:
        raise ConfigurationError(f"--{needy[0].replace('_', '-')}: needs --ca-file")
    if options.ca_file is None:
        return grpc.insecure_channel(options.address)
    authorities, key, chain = (_content(options, name) for name in ("ca_file", "key_file", "cert_file"))
    named = [("grpc.ssl_target_name_override", options.server_name)] if options.server_name else []
    return grpc.secure_channel(options.address, grpc.ssl_channel_credentials(authorities, key, chain), named)


def _health(options: argparse.Namespace) -> int:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with _channel(options) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined] # the stubs lack it
                health_pb2.HealthCheckRequest(), timeout=_HEALTH_TIMEOUT
            )
        except grpc.RpcError as error:
            print(error.code().name)
            return 1
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def _content(options: argparse.Namespace, name: str) -> bytes | None:
    """Returns what is in the file that an option names, if it is given."""
    file: Path | None = getattr(options, name)
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--{name.replace('_', '-')}: cannot be read: {error}") from error


def _settings(_: argparse.Namespace) -> int:
    print(settings.markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())

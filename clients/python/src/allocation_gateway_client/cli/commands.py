"""The commands of allocctl."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import service_group_service_pb2 as groups
from click.core import ParameterSource
from click.shell_completion import get_completion_class
from google.protobuf import json_format

from allocation_gateway_client.base import rpcs
from allocation_gateway_client.cli import failures, output, requests, run, wave
from allocation_gateway_client.cli.options import connected
from allocation_gateway_client.cli.requests import Api, NotOfferedError, Selector
from allocation_gateway_client.errors import AllocationError, Refused
from allocation_gateway_client.policy import SERVICE_CONFIG, ServiceConfig

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from allocation_gateway_client.cli.options import Session
    from allocation_gateway_client.outcomes import Standing

_API: Final = click.option(
    "--api", type=click.Choice([api.value for api in Api]), help="which API [default: by the reference; `sp_` is ship]"
)
_REQUEST_ID: Final = click.option(
    "--request-id", default="", metavar="UUID", help="repeat an earlier request, to learn what became of it"
)
# The states in which a watch ends without an allocation.
_UNALLOCATED: Final = frozenset({"allocation failed", "cancelled", "cancelling"})
# What a name of a file may have of a reference.
_FOREIGN: Final = re.compile(r"[^\w.-]")
# As much of what is wrong is shown.
_SHOWN: Final = 40
_FORMATS: Final = [name.removeprefix("LABEL_FORMAT_").lower() for name in consignments.LabelFormat.keys()[1:]]


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command. Interrupted, it has the exit code that it says; click would have that of a failure."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(failures.INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="allocation-gateway-client", prog_name="allocctl")
def allocctl() -> None:
    """Allocate shipments and consignments through the allocation gateway.

    Exit codes: 0 done; 1 the gateway or the API failed; 2 wrong usage; 3 the request is invalid; 4 not found; 5 refused
    by the state of things; 6 nothing was done, try again; 7 the outcome is unknown; 8 not permitted; 9 not supported;
    10 several of these; 130 interrupted.
    """


@allocctl.command()
@click.argument("references", nargs=-1)
@click.option("--group", "-g", help="a service group, by its code or a name")
@click.option("--service", help="a carrier service")
@click.option("--virtual", help="a carrier service or a service group, by one reference")
@click.option("--quote", help="a quote, by its reference")
@click.option("--bulk", is_flag=True, help="one call for up to 100 references; shipments are only queued by it")
@click.option("--labels", "label_format", type=click.Choice(_FORMATS), help="get the label too, of a consignment")
@click.option(
    "--save",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="with --labels: the folder for their files [default: this one; with --json: labels stand in the JSON]",
)
@click.option("--file", "-f", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="a CSV file of them")
@click.option(
    "--result",
    type=click.Path(dir_okay=False, path_type=Path),
    help="with --file: where results go, and are continued from [default: beside it]",
)
@click.option("--stream", is_flag=True, help="with --file: in one call, which the gateway puts into bulk calls")
@click.option("--queued", is_flag=True, help="with --stream: a row is done when the API has taken it in hand")
@click.option("--concurrency", type=click.IntRange(1, 256), default=16, show_default=True, help="with --file")
@click.option("--retry-failed", is_flag=True, help="with --file: try again what was refused in an earlier run")
@_API
@_REQUEST_ID
@connected
def allocate(
    session: Session,
    references: tuple[str, ...],
    *,
    bulk: bool,
    label_format: str | None,
    save: Path | None,
    file: Path | None,
    result: Path | None,
    stream: bool,
    queued: bool,
    concurrency: int,
    retry_failed: bool,
    api: str | None,
    request_id: str,
    **selectors: str | None,
) -> None:
    """Allocate shipments or consignments: by default rules, or as one option says.

    With --file, a CSV file whose column `reference` names them and whose columns `group`, `service`, `virtual` and
    `quote` may say more of each. An interrupted run is continued by the same command, and nothing is booked twice.
    With --stream it is one call for all of them, for any number: what the gateway allocates in bulk.
    """
    selector = _selector(selectors)
    chosen = None if api is None else Api(api)
    if (file is None) == (not references):
        raise click.UsageError("name references, or a --file of them")
    _check_together(is_file=file is not None)
    if request_id and len(references) > (requests.BULK_SIZE if bulk else 1):
        raise click.UsageError("--request-id is for one request")
    try:
        if file is not None:
            results = result or file.with_suffix(".results.jsonl")
            job = wave.Job.opened(file, results, selector, chosen, session.profile, streams=stream)
            how, profile, printer = {"retry_failed": retry_failed}, session.profile, session.output
            code = (
                run.stream(job, profile, printer, is_queued_enough=queued, **how)
                if stream
                else run.run(job, profile, printer, concurrency, **how)
            )
            click.get_current_context().exit(code)
        made = _allocations(references, selector, chosen, request_id, bulk=bulk, label_format=label_format)
    except (NotOfferedError, wave.FileError) as error:
        raise click.UsageError(str(error)) from None
    session.make(made, lambda response: _allocated(session, response, label_format, save))


def _check_together(*, is_file: bool) -> None:
    """Makes sure that no option is passed over that the caller of `allocate` has given."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for name, needed in (
        *((name, "file") for name in ("stream", "result", "retry_failed", "concurrency")),
        ("queued", "stream"),
        ("save", "label_format"),
    ):
        if name in given and needed not in given:
            raise click.UsageError(f"{_spelled(name)} is for {_spelled(needed)}")
    for name, other in (("bulk", "label_format"), ("stream", "concurrency")):
        if {name, other} <= given:
            raise click.UsageError(f"{_spelled(name)} and {_spelled(other)} exclude each other")
    for name in ("bulk", "label_format", "request_id"):
        if is_file and name in given:
            raise click.UsageError(f"{_spelled(name)} is not for --file")


def _spelled(name: str) -> str:
    """Returns how an option is spelled on the command line."""
    options = {one.name: one.opts for one in click.get_current_context().command.params}
    return max(options[name], key=len)


def _allocated(session: Session, response: Any, label_format: str | None, save: Path | None) -> None:
    """Prints what was allocated. Labels go to files, which their names tell: people cannot read them."""
    session.output.answer(response)
    if label_format is None or (session.output.is_json and save is None):
        return
    name = _FOREIGN.sub("_", response.allocation.consignment_reference).lstrip(".") or "label"
    for number, label in enumerate(response.labels, 1):
        file = (save or Path()) / f"{name}{'' if number == 1 else f'-{number}'}.{label_format}"
        try:
            file.write_bytes(label.content)
        except OSError as error:
            raise click.FileError(str(file), error.strerror) from None
        if not session.output.is_json:
            session.output.line(f"  saved: {file}")


def _selector(given: dict[str, str | None]) -> Selector:
    named = [(option, value) for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise click.UsageError(" and ".join(f"--{option}" for option, _ in named) + " exclude each other")
    return Selector(*named[0]) if named else Selector()


def _allocations(
    references: tuple[str, ...],
    selector: Selector,
    api: Api | None,
    request_id: str,
    *,
    bulk: bool,
    label_format: str | None,
) -> list[Message]:
    if bulk:
        kind = api or Api.of(references[0])
        size = requests.BULK_SIZE
        parts = [references[begin : begin + size] for begin in range(0, len(references), size)]
        return [requests.bulk(kind, part, selector, request_id) for part in parts]
    if label_format is not None:
        return [requests.labels(reference, selector, label_format, request_id) for reference in references]
    return [requests.allocation(api or Api.of(one), one, selector, request_id) for one in references]


@allocctl.command()
@click.argument("references", nargs=-1, required=True)
@_API
@_REQUEST_ID
@connected
def deallocate(session: Session, references: tuple[str, ...], *, api: str | None, request_id: str) -> None:
    """Take allocations back."""
    if request_id and len(references) > 1:
        raise click.UsageError("--request-id is for one request")
    made = [requests.deallocation(Api(api) if api else Api.of(one), one, request_id) for one in references]
    session.make(made, lambda response: _deallocated(session, response))


def _deallocated(session: Session, response: Any) -> None:
    if session.output.is_json:
        session.output.answer(response)
    else:
        reference = getattr(response, "shipment_reference", "") or getattr(response, "consignment_reference", "")
        session.output.line(f"{reference}  deallocated")


@allocctl.command()
@click.argument("references", nargs=-1, required=True)
@_API
@connected
def show(session: Session, references: tuple[str, ...], *, api: str | None) -> None:
    """Show how shipments or consignments stand."""
    made = [requests.read(Api(api) if api else Api.of(one), "show", one) for one in references]
    session.make(made, session.output.answer)


@allocctl.command()
@click.argument("references", nargs=-1, required=True)
@_API
@connected
def watch(session: Session, references: tuple[str, ...], *, api: str | None) -> None:
    """Watch shipments or consignments until they are allocated, or it is certain that they will not be.

    It tells how each stands, and then each change, for as long as --timeout says.
    """
    chosen = Api(api) if api else Api.of(references[0])
    if not api and any(Api.of(one) is not chosen for one in references):
        raise click.UsageError("shipments and consignments are watched apart")
    begin: Any = (
        session.client.watch_shipment_allocations
        if chosen is Api.SHIP
        else session.client.watch_consignment_allocations
    )
    codes: list[int] = []
    try:
        with begin(references, timeout=session.profile.timeout) as standings:
            codes.extend(_shown(session, standing) for standing in standings)
    except AllocationError as error:
        session.output.failure(error)
        codes.append(failures.exit_code(error))
    click.get_current_context().exit(failures.together(codes))


def _shown(session: Session, standing: Standing[Any]) -> int:
    """Prints how one stands. Returns the exit code for it: that of success unless it ended without an allocation."""
    session.output.standing(standing)
    if not standing.is_final:
        return 0
    if standing.error is not None:
        return failures.exit_code(standing.error)
    return failures.exit_code_of(Refused) if output.state(standing.allocation) in _UNALLOCATED else 0


@allocctl.command()
@click.argument("reference")
@_API
@connected
def quotes(session: Session, reference: str, *, api: str | None) -> None:
    """Ask what carrier services would charge. Nothing is booked."""
    session.make([requests.read(Api(api) if api else Api.of(reference), "quotes", reference)], session.output.answer)


@allocctl.command(name="groups")
@click.argument("name", required=False)
@click.option("--refresh", is_flag=True, help="have the gateway forget what it knows, and read it anew")
@click.option("--api", type=click.Choice([api.value for api in Api]), help="of one API alone")
@connected
def service_groups(session: Session, name: str | None, *, refresh: bool, api: str | None) -> None:
    """List the service groups that the gateway knows, or tell what a code or a NAME stands for."""
    kind = groups.Api.Value(f"API_{api.upper()}") if api else groups.API_UNSPECIFIED
    wanted: list[Message] = [groups.RefreshServiceGroupsRequest(api=kind)] if refresh else []
    if name:
        wanted.append(groups.GetServiceGroupRequest(service_group=name, api=kind))
    if wanted:
        session.make(wanted, session.output.answer)
    pages: list[Message] = [groups.ListServiceGroupsRequest(api=kind)]

    def shown(response: Any) -> None:
        session.output.answer(response)
        if response.next_page_token:
            pages.append(groups.ListServiceGroupsRequest(api=kind, page_token=response.next_page_token))

    # The list grows while it is gone through, page by page.
    session.make(pages, shown)


@allocctl.command()
@click.argument("rpc", metavar="SERVICE/METHOD", required=False)
@click.argument("body", metavar="JSON", required=False, default="{}")
@connected
def raw(session: Session, rpc: str | None, body: str) -> None:
    """Make any call but a stream, such as `raw ShipmentAllocationService/AllocateShipment '{...}'`, with its request.

    Without arguments it lists all of them. Streams are what `allocate --stream` and `watch` are for. `-` reads the
    JSON from standard input.
    """
    known = {
        path.removeprefix("/allocation.v1."): one for path, one in rpcs(ServiceConfig.parsed(SERVICE_CONFIG)).items()
    }
    if rpc is None:
        for name in known:
            session.output.line(name)
        return
    found = known.get(rpc.removeprefix("allocation.v1."))
    if found is None:
        raise click.UsageError(f"there is no {rpc}: `allocctl raw` lists what there is")
    text = sys.stdin.read() if body == "-" else body
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError(f"it is no object, but {text.strip()[:_SHOWN]}")
        request = json_format.ParseDict(fields, found.request())
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise click.UsageError(f"the JSON is not a {found.request.DESCRIPTOR.name}: {error}") from None
    session.make([request], session.output.raw)


@allocctl.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(allocctl completion bash)"`."""
    if kind := get_completion_class(shell):
        click.echo(kind(allocctl, {}, "allocctl", "_ALLOCCTL_COMPLETE").source())

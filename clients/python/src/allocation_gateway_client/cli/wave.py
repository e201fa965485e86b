"""A file of shipments or consignments: what is in it, what has become of each row, and the id of each request."""

from __future__ import annotations

import csv
import json
import os
import uuid
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from allocation_gateway_client.cli import failures, output, requests
from allocation_gateway_client.cli.requests import SELECTORS, Api, NotOfferedError, Selector
from allocation_gateway_client.errors import Refused, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message
    from typing_extensions import Self

    from allocation_gateway_client.cli.profiles import Profile
    from allocation_gateway_client.errors import AllocationError

_REFERENCE: Final = "reference"
_COLUMNS: Final = (_REFERENCE, *SELECTORS)
DONE: Final = "done"
# It was refused, so that another try is another request.
REFUSED: Final = "refused"
# Nobody knows, or nothing was done yet: a repetition is the same request.
OPEN: Final = "open"
_LEFT: Final = {REFUSED: failures.exit_code_of(Refused), OPEN: failures.exit_code_of(UnknownOutcome), "": 0}


class FileError(Exception):
    """A file that cannot be used. Its text says what is wrong with it."""


@dataclass(frozen=True)
class Row:
    """What is to be allocated.

    Attributes:
        api: The API it belongs to.
        reference: The shipment or consignment.
        selector: By what its carrier service is chosen.
    """

    api: Api
    reference: str
    selector: Selector

    def check(self, *, streams: bool) -> None:
        """Makes sure that there is a call for it.

        Raises:
            NotOfferedError: There is none.
        """
        if streams:
            requests.item(self.api, self.reference, self.selector)
        else:
            self.request(uuid.UUID(int=0), 0)

    def request(self, job: uuid.UUID, refusals: int) -> Message:
        """Returns the request for it: the same in each run of a job, until it is refused."""
        name = json.dumps([self.api.value, self.reference, self.selector.option, self.selector.value, refusals])
        return requests.allocation(self.api, self.reference, self.selector, str(uuid.uuid5(job, name)))


@dataclass
class _Past:
    """What runs have come to with a reference: `kind` is that of its last error."""

    outcome: str = ""
    refusals: int = 0
    kind: str = ""


class Job:
    """The rows of a file, and a file of results that a second run continues from.

    The first line of the results is `{"job": UUID, "source": FILE, "stream": BOOLEAN, "address": HOST:PORT, "account":
    NAME}`; each other one is what an attempt came to. It is written as soon as it is known, so that whatever ends the
    run leaves no more than the calls in hand without a line, and those have the same id in the next run.

    Attributes:
        rows: What the file has, in its order.
        results: Where the results are.
    """

    def __init__(self, rows: Sequence[Row], results: Path, job: uuid.UUID, past: dict[str, _Past]) -> None:
        self.rows = rows
        self.results = results
        self._id = job
        self._past = past
        self._file: IO[str] | None = None

    @classmethod
    def opened(
        cls, source: Path, results: Path, selector: Selector, api: Api | None, profile: Profile, *, streams: bool
    ) -> Self:
        """Reads a file, and the results of earlier runs if there are any; begins them if not.

        Args:
            source: The file.
            results: Where the results are, or go.
            selector: That of rows without one of their own.
            api: That of all rows; None if their references tell it.
            profile: The gateway, and the account of it, that they are for.
            streams: Whether the rows are the items of streams, and not calls of their own: their ids differ.

        Raises:
            FileError: A file cannot be read, or something in it is wrong.
        """
        rows = _rows(source, selector, api, streams=streams)
        job, past = _results(results, profile, streams=streams)
        if job is None:
            job = uuid.uuid4()
            where = {"address": profile.address, "account": profile.account}
            _begin(results, {"job": str(job), "source": source.name, "stream": streams, **where})
        return cls(rows, results, job, past)

    def __enter__(self) -> Self:
        with self.results.open("r+b") as file:
            # A line that was cut off when a run was killed: the next one must not be joined to it.
            file.truncate(file.read().rfind(b"\n") + 1)
        self._file = self.results.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def pending(self, *, retry_failed: bool) -> Iterator[tuple[Row, Message]]:
        """Returns what is still to be done, with the request for each."""
        for row, refusals in self.remaining(retry_failed=retry_failed):
            yield row, row.request(self._id, refusals)

    def remaining(self, *, retry_failed: bool) -> Iterator[tuple[Row, int]]:
        """Returns what is still to be done, with the number of its earlier refusals."""
        for row in self.rows:
            past = self._past.get(row.reference, _Past())
            if past.outcome != DONE and (retry_failed or past.outcome != REFUSED):
                yield row, past.refusals

    def stream_id(self, refusals: int) -> str:
        """Returns the id of the stream of the rows that were refused so often: another try is another request."""
        return str(uuid.uuid5(self._id, str(refusals)) if refusals else self._id)

    def record(self, row: Row, outcome: str, facts: Mapping[str, Any]) -> None:
        """Writes down what became of a row."""
        assert self._file is not None  # noqa: S101 # it is entered
        past = self._past.setdefault(row.reference, _Past())
        past.outcome = outcome
        past.refusals += outcome == REFUSED
        past.kind = str(facts.get("kind", ""))
        self._file.write(_line({"reference": row.reference, "outcome": outcome, **facts}))
        self._file.flush()

    def counts(self) -> dict[str, int]:
        """Returns how many rows have come to which outcome in all runs."""
        found = {DONE: 0, REFUSED: 0, OPEN: 0}
        for row in self.rows:
            found[self._past.get(row.reference, _Past()).outcome or OPEN] += 1
        return found

    def exit_codes(self) -> set[int]:
        """Returns the exit codes for what is left, by the last error of each row, or else by its outcome."""
        found = (self._past.get(row.reference, _Past()) for row in self.rows)
        return {failures.exit_code_of_name(past.kind) or _LEFT[past.outcome] for past in found if past.outcome != DONE}


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _begin(results: Path, header: Mapping[str, Any]) -> None:
    """Writes the first line to the disk before anything is sent: without it nothing could be repeated."""
    try:
        with results.open("x", encoding="utf-8") as file:
            file.write(_line(header))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FileError(f"{results} cannot be written: {error.strerror}") from None


def failed(error: AllocationError) -> tuple[str, dict[str, Any]]:
    """Returns what a failure makes of a row, and what is written down of it."""
    told = {
        "kind": type(error).__name__,
        "reason": error.reason,
        "code": error.code.name,
        "message": error.message,
        "request_id": error.request_id,
    }
    if error.effect == "made":
        # It is booked: another try would be refused.
        return DONE, told
    return REFUSED if failures.is_refusal(error) else OPEN, told


def facts(allocation: Any) -> dict[str, Any]:
    """Returns what is written down of an allocation."""
    found = {
        "state": output.state(allocation),
        "carrier": allocation.carrier.name if hasattr(allocation, "carrier") else allocation.carrier_name,
        "price": output.price(allocation),
    }
    return {name: value for name, value in found.items() if value}


def _rows(source: Path, selector: Selector, api: Api | None, *, streams: bool) -> list[Row]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            unknown = [name for name in columns if name not in _COLUMNS]
            if _REFERENCE not in columns or unknown:
                raise FileError(
                    f"{source}: the first line must name the column reference, and may name {', '.join(SELECTORS)}"
                )
            reader.fieldnames = columns
            rows = [_row(source, reader.line_num, fields, selector, api, streams=streams) for fields in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{source} cannot be read: {error}") from None
    seen: set[str] = set()
    for row in rows:
        if row.reference in seen:
            raise FileError(f"{source}: {row.reference} is there twice")
        seen.add(row.reference)
    return rows


def _row(
    source: Path, line: int, fields: Mapping[Any, Any], selector: Selector, api: Api | None, *, streams: bool
) -> Row:
    if None in fields or None in fields.values():
        raise FileError(f"{source}, line {line}: it has more or fewer values than the first line has names")
    values = {name: value.strip() for name, value in fields.items() if value.strip()}
    reference = values.pop(_REFERENCE, "")
    if not reference:
        raise FileError(f"{source}, line {line}: the reference is missing")
    if len(values) > 1:
        raise FileError(f"{source}, line {line}: {' and '.join(values)} exclude each other")
    chosen = Selector(*next(iter(values.items()))) if values else selector
    row = Row(api or Api.of(reference), reference, chosen)
    try:
        row.check(streams=streams)
    except NotOfferedError as error:
        raise FileError(f"{source}, line {line}: {error}") from None
    return row


def _results(results: Path, profile: Profile, *, streams: bool) -> tuple[uuid.UUID | None, dict[str, _Past]]:
    """Returns the id of the job and what each reference has come to. A last line that was cut off counts as none."""
    try:
        # Only a line feed ends a line: texts of upstream's may hold what Python takes for other ends.
        lines = results.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return None, {}
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{results} cannot be read: {error}") from None
    past: dict[str, _Past] = {}
    try:
        header = json.loads(lines[0])
        job = uuid.UUID(header["job"])
        was_stream = bool(header.get("stream", False))
        was_for = str(header.get("account", ""))
        # Files of earlier versions do not say where they were begun.
        was_at = str(header.get("address", profile.address))
        for line in lines[1:-1]:
            told = json.loads(line)
            one = past.setdefault(told[_REFERENCE], _Past())
            one.outcome = told["outcome"]
            one.refusals += one.outcome == REFUSED
            one.kind = str(told.get("kind", ""))
    except (IndexError, KeyError, TypeError, ValueError):
        raise FileError(f"{results} is not a file of results: name another one with --result") from None
    if was_stream is not streams:
        # The same row would be another request.
        raise FileError(f"{results} was begun {'with' if was_stream else 'without'} --stream: go on with it so")
    if was_at != profile.address:
        # Another gateway knows nothing of what was done by this one.
        raise FileError(
            f"{results} was begun at the gateway {was_at}, not {profile.address}: go on with it so, or name another "
            "one with --result. If both are the same gateway, change the address in its first line"
        )
    if was_for != profile.account:
        # There, nothing is known of what was done here.
        raise FileError(
            f"{results} was begun {f'for account {was_for}' if was_for else 'without --account'}: go on with it so"
        )
    return job, past

"""What upstream says of each consignment of a call, and which consignment it says it of.

An answer is an array or a bare object, of AllocationSummary or of the older WithMessage. An AllocationSummary names its
consignment in no field of its own: the detail link does, as WithMessage's data does, else another link, else the
description. Only where nothing does, and there are as many answers as there were consignments, does the order tell.
What names another consignment, or two, or one in a way that cannot be read, is never taken for the one at its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence  # noqa: TC003 # the fields of a NamedTuple are evaluated
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

from allocation_gateway.codecs import consignment_common as common
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.json import string
from allocation_gateway.codecs.statuses import REFUSALS
from allocation_gateway.references import folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.codecs.json import Object

_ACCEPTED: Final = 202
_PATHS: Final = frozenset({"consignments", "labels"})
# What stands where the reference would in the address of a label that is not a consignment's but a package's.
_PACKAGE: Final = "package"
# A documented description names its consignment between these. One pattern for both would take the square of the time.
_SUBJECT: Final = re.compile(r"\s*Consignment\s+(?!has been\b)(?=\S)", re.IGNORECASE)
_PREDICATE: Final = re.compile(r"\shas been\b", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"EC(?:-[A-Z0-9]{3}){3}", re.ASCII | re.IGNORECASE)
# Of nearly every address the path can be told without taking the rest apart.
_PLAIN_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9.:-]+(/[^?#\s]*)", re.ASCII)
# What is longer names no consignment, and to look for one in it would take for ever.
_LONGEST_TEXT: Final = 4_096
_PUNCTUATION: Final = ".,;:!?()[]<>{}'\"`"


class Summary(NamedTuple):
    """What upstream says of one consignment.

    Attributes:
        done: Whether the operation was carried out; None if the answer does not say.
        status_code: Upstream's status for it; zero if there is none.
        description: What happened, in upstream's words.
        allocation: The fields of a ConsignmentAllocation, without its reference.
        data: The consignment as WithMessage names it; empty if it does not.
        unreadable: The paths of what cannot be read of it.
        is_obscure: True if something that could name a consignment cannot be read.
    """

    done: bool | None
    status_code: int = 0
    description: str = ""
    allocation: Object | None = None
    data: str = ""
    unreadable: Sequence[str] = ()
    is_obscure: bool = False

    @property
    def is_accepted(self) -> bool:
        """True if upstream says that it took the request in hand, and no more."""
        return self.done is None and self.status_code == _ACCEPTED

    @property
    def carrier_service(self) -> str:
        """The carrier service that was allocated; empty if the answer names none."""
        return str((self.allocation or {}).get("carrier_service_reference", ""))


_NOTHING: Final = Summary(None)


class _Requested:
    """The references that were asked for. Upstream's differ in case, so that another case is the same consignment."""

    def __init__(self, references: Sequence[str]) -> None:
        self.references = references
        self._exact = frozenset(references)
        self._by_folded: dict[str, str | None] = {}
        for reference in references:
            key = folded(reference)
            self._by_folded[key] = None if key in self._by_folded else reference

    def __contains__(self, name: str) -> bool:
        return name in self._exact

    def find(self, name: str) -> str | None:
        """Returns the reference that a name stands for; None if it is none of them, or may be two."""
        return name if name in self._exact else self._by_folded.get(folded(name))


def summaries(body: object, requested: Sequence[str], findings: Findings) -> Mapping[str, Summary]:
    """Returns what the answer says of each requested consignment. One that it does not speak of is not there.

    Two answers about one consignment that disagree say nothing. How it ended and with which carrier decides.
    """
    items = body if isinstance(body, list) else [body]
    references = _Requested(requested)
    read: list[tuple[Summary, Findings]] = []
    for index, item in enumerate(items):
        if isinstance(item, dict):
            read.append(_summary(item, f"[{index}]." if isinstance(body, list) else ""))
        else:
            read.append((_NOTHING, Findings()))
            if isinstance(body, list):
                findings.note(f"[{index}]", "an object", item)
    whose = _owners([summary for summary, _ in read], requested, references)
    found: dict[str, Summary] = {}
    contradicted: set[str] = set()
    for item, name, (summary, defects) in zip(items, whose, read, strict=True):
        if not name and summary.is_obscure:
            findings.item().extend(defects, summary.unreadable)
        if not name or not isinstance(item, dict):
            continue
        # The defects of an answer about another consignment are no reason to doubt this one.
        findings.extend(defects)
        earlier = found.get(name)
        if earlier is not None and not _agree(earlier, summary):
            contradicted.add(name)
        if earlier is None or not earlier.carrier_service:
            found[name] = summary
    return {name: _NOTHING if name in contradicted else summary for name, summary in found.items()}


def _owners(read: list[Summary], requested: Sequence[str], references: _Requested) -> list[str | None]:
    """Returns for each answer the requested consignment that it is about; empty or None if it is about none."""
    whose = [_whose(summary, references) for summary in read]
    if len(read) != len(requested):
        return whose
    for name, summary, reference in zip(whose, read, requested, strict=True):
        if name != reference and (name != "" or summary.is_obscure):
            return whose
    return list(requested)


def _agree(one: Summary, other: Summary) -> bool:
    services = {one.carrier_service, other.carrier_service} - {""}
    return one.done is other.done and len(services) <= 1


def _summary(source: Object, path: str) -> tuple[Summary, Findings]:
    """Reads either shape: they have no field in common but the links, and nobody promises that they are not mixed."""
    findings = Findings()
    decisive = findings.decisive
    status_code = common.integer(source, "StatusCode", path, decisive)
    carrier_reference = string(source, "CarrierReference", path, decisive)
    carrier_service = string(source, "CarrierServiceReference", path, decisive)
    success = source.get("IsSuccess")
    if success is not None and success.__class__ is not bool:
        decisive.note(f"{path}IsSuccess", "a boolean", success)
    naming = Findings()
    description = string(source, "Description", path, naming) or string(source, "Message", path, naming)
    links = common.links(source, path, naming)
    data = string(source, "Data", path, naming)
    legs = common.legs(source, path, findings)
    carrier_name = string(source, "CarrierName", path, findings)
    carrier_service_name = string(source, "CarrierServiceName", path, findings)
    findings.extend(naming)
    allocation: Object = {
        "description": description,
        "carrier_reference": carrier_reference,
        "carrier_name": carrier_name,
        "carrier_service_reference": carrier_service,
        "carrier_service_name": carrier_service_name,
        "legs": legs,
        "links": links,
    }
    done = _by_status(status_code, carrier_service)
    if isinstance(success, bool):
        done = success if not status_code or done is success else None
    if done is False and (carrier_service or legs):
        done = None  # only what is allocated has these
    summary = Summary(
        done=done,
        status_code=status_code,
        description=description,
        allocation=allocation,
        data=data,
        unreadable=[*naming.claim(), *findings.claim()],
        is_obscure=bool(naming),
    )
    return summary, findings


def _by_status(status_code: int, carrier_service: str) -> bool | None:
    """Reads the status of one item as what it is: a copy of HTTP's. Without one, a carrier service is proof enough."""
    if not status_code or status_code == _ACCEPTED:
        return True if carrier_service else None
    if 200 <= status_code < 300:
        return True
    return False if status_code in REFUSALS else None


def _whose(summary: Summary, requested: _Requested) -> str | None:
    """Returns the requested consignment that an answer names: empty if it names none, None if another, or several."""
    details: set[str] = set()
    others: set[str] = set()
    for link in (summary.allocation or {}).get("links", ()):
        if name := _linked(link, requested):
            (details if link["rel"].lower() == "detail" else others).add(name)
    if summary.data:
        details.add(requested.find(summary.data) or summary.data)
    names = details or others or _described(summary.description, requested)
    if not names:
        return ""
    return requested.find(names.pop()) if len(names) == 1 else None


def _linked(link: Object, requested: _Requested) -> str:
    """Returns the consignment that a link leads to, `{base}/consignments/{ref}` or `{base}/labels/{ref}`, on any host.

    Empty if it leads to none. Upstream's own SDK writes a space as a plus sign.
    """
    segments = [part for part in _path(link["href"]).split("/") if part]
    for place in range(len(segments) - 2, -1, -1):
        kind, following = segments[place].lower(), segments[place + 1]
        if kind == "labels" and following.lower() == _PACKAGE:
            return ""
        if kind in _PATHS:
            name = unquote(following)
            return requested.find(name) or requested.find(unquote_plus(following)) or name
    return ""


def _path(href: str) -> str:
    """Returns the path of an address, whatever else is in it; empty if it is none."""
    if len(href) > _LONGEST_TEXT:
        return ""
    if plain := _PLAIN_ADDRESS.fullmatch(href):
        return plain[1]
    try:
        return urlsplit(href).path
    except ValueError:
        return ""


def _described(description: str, requested: _Requested) -> set[str]:
    """Returns the consignments that a description speaks of, by its documented beginning or anywhere in it."""
    description = description[:_LONGEST_TEXT]
    subject = _SUBJECT.match(description)
    predicate = None if subject is None else _PREDICATE.search(description, subject.end())
    if subject is not None and predicate is not None:
        whole = description[subject.end() : predicate.start()].rstrip()
        # Its own punctuation may be what tells it from another one; the documented form has none.
        bare = whole.strip(_PUNCTUATION)
        name = bare if _REFERENCE.fullmatch(bare) else whole
        if requested.find(name) or not re.search(r"\s", name):
            return {requested.find(name) or name}
    found: set[str] = set()
    for word in description.split():
        bare = word.strip(_PUNCTUATION)
        if word in requested or bare in requested:
            found.add(word if word in requested else bare)
        elif _REFERENCE.fullmatch(bare):
            found.add(requested.find(bare) or bare)
    return found

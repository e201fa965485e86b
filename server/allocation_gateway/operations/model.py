"""The shape of a row of the operation table."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

from google.protobuf.message_factory import GetMessageClass

from allocation_gateway.references import capitalized, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.codecs.findings import Findings
    from allocation_gateway.codecs.json import Object
    from allocation_gateway.codecs.schema import Document
    from allocation_gateway.operations.allocations import AllocationType
    from allocation_gateway.operations.bulk import BulkAnswer
    from allocation_gateway.settings import Settings

    Encode: TypeAlias = Callable[[Any, Settings], Object]
    Decode: TypeAlias = Callable[[Any, Any, Findings], Message]

# Nearly every reference is made of these alone, and looking costs less than encoding.
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_ONE: Final = ("shipment_reference", "consignment_reference")
_MANY: Final = ("shipments", "consignments")
_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def references_field(request: type[Message]) -> str:
    """Returns the field by which requests of a class name the shipments or consignments they are for; empty if none."""
    return _references_field(request.DESCRIPTOR)


@cache
def _references_field(descriptor: Any) -> str:
    return next((field for field in (*_ONE, *_MANY) if field in descriptor.fields_by_name), "")


class Api(enum.Enum):
    """A REST API that the gateway stands in front of."""

    SHIP = "ship"
    CONSIGNMENTS = "consignments"


# Looked up once: in Python 3.11, each access to a member of an enum is a function call.
_SHIP: Final = Api.SHIP


class Action(enum.Enum):
    """What a call does upstream, which decides whether it may be cut short."""

    READ = "read"
    """Nothing is booked: a call that nobody waits for any more is cancelled."""
    ALLOCATE = "allocate"
    """A shipment is booked: once sent, the call is never cut."""
    ALLOCATE_BULK = "allocate_bulk"
    """Shipments are queued to be booked: once sent, the call is never cut."""
    DEALLOCATE = "deallocate"
    """A booking is taken back: once sent, the call is never cut."""
    DEALLOCATE_BULK = "deallocate_bulk"
    """Bookings are taken back: once sent, the call is never cut."""

    writes: bool
    """True if the call changes something upstream."""
    allocates: bool
    """True if the call books something."""
    is_bulk: bool
    """True if the call is for several shipments or consignments."""

    def __init__(self, name: str) -> None:
        self.writes = name != "read"
        self.allocates = name.startswith("allocate")
        self.is_bulk = name.endswith("_bulk")


class FollowUp(enum.Enum):
    """What is read after an answer that does not say enough by itself."""

    CONSIGNMENT = "consignment"
    """The consignment: where it stands after an answer without a body, or why it was refused."""
    CONSIGNMENTS = "consignments"
    """Every consignment that was refused: why."""
    LABELS = "labels"
    """The consignment, and its label if it was allocated before."""


class Route:
    """A method and a path below the base URL, such as `PUT /shipments/{shipment_reference}/allocate`.

    The placeholders are fields of the request. Each becomes one path segment: every character that is not unreserved in
    RFC 3986 is percent-encoded, a slash and a percent sign too. An enum becomes its name without the prefix.
    """

    __slots__ = ("_fields", "_format", "method", "template")

    def __init__(self, method: str, template: str) -> None:
        self.method = method
        self.template = template
        self._fields = tuple(_PLACEHOLDER.findall(template))
        self._format = _PLACEHOLDER.sub("%s", template)

    def of(self, request: Message) -> Route:
        """Returns the route of a request: this one, whatever the request."""
        del request
        return self

    def path(self, request: Message) -> str:
        """Returns the path for a request, percent-encoded."""
        return self._format % tuple([_segment(request, field) for field in self._fields])


class RouteByOneof(Route):
    """Several routes, of which a oneof of the request chooses one by the name of its field; this one if it is unset."""

    __slots__ = ("_oneof", "_others")

    def __init__(self, method: str, template: str, oneof: str, **others: str) -> None:
        super().__init__(method, template)
        self._oneof = oneof
        self._others = {field: Route(method, path) for field, path in others.items()}

    def of(self, request: Message) -> Route:
        """Returns the route that the request chooses."""
        chosen = request.WhichOneof(self._oneof)
        return self if chosen is None else self._others[chosen]


def _segment(request: Message, field: str) -> str:
    value = getattr(request, field)
    if isinstance(value, str):
        return value if _UNRESERVED.fullmatch(value) else quote(value, safe="")
    kind: Any = request.DESCRIPTOR.fields_by_name[field].enum_type
    prefix = _CAPITAL.sub("_", kind.name).upper()
    return str(kind.values_by_number[value].name.removeprefix(f"{prefix}_"))


@dataclass(frozen=True, slots=True)
class Operation:
    """One rpc: how it is called upstream and how the answer is read.

    Attributes:
        name: The rpc's name within its service.
        service: The service's full name.
        request: The request message's class.
        api: The REST API that carries it out.
        action: What it does there.
        allocations: How the allocations of that API are read.
        routes: Its documented spellings by name. The first one is used unless the configuration names another.
        encode: Makes the JSON body; None if there is none.
        decode: Makes the response from the request and the fields of a successful answer, and tells what it finds.
        document: What such an answer looks like, and its fields are read by; None if they are its JSON as it is.
        bodiless_statuses: The successful statuses that may come without a body. Decoded is None then.
        bulk_statuses: The further statuses under which the body can still say what was queued and what was rejected.
        sole_resource: The field of the request that names the only thing which upstream could not find; empty if
            there are several.
        follow_up: What is read after the answer, to complete it or to tell why it is a refusal.
        bulk: The form of the answer of a bulk call; None for any other.
        without_bulky_parts: Makes of a response what its claim keeps for repeats: what it leaves out is read again by
            the follow-up. None if all of it is kept.
        full_name: The rpc's name as telemetry and gRPC know it, without a leading slash.
        named_by: The field of the request that names the shipments or consignments which it is for; empty if none does.
    """

    name: str
    service: str
    request: type[Message]
    api: Api
    action: Action
    allocations: AllocationType
    routes: Mapping[str, Route]
    encode: Encode | None
    decode: Decode
    document: Document | None = None
    bodiless_statuses: frozenset[int] = frozenset()
    bulk_statuses: frozenset[int] = frozenset()
    sole_resource: str = ""
    follow_up: FollowUp | None = None
    bulk: BulkAnswer | None = None
    without_bulky_parts: Callable[[Any], Message] | None = None
    full_name: str = field(init=False)
    named_by: str = field(init=False)

    def __post_init__(self) -> None:
        if self.action.is_bulk != (self.bulk is not None):
            raise ValueError(f"{self.name}: a bulk call, and only one, has a form of bulk answers")
        # What every call asks for is made once.
        object.__setattr__(self, "full_name", f"{self.service}/{self.name}")
        object.__setattr__(self, "named_by", references_field(self.request))

    @property
    def response(self) -> type[Message]:
        """The response message's class. A row without an rpc of its own has none: KeyError."""
        service = self.request.DESCRIPTOR.file.pool.FindServiceByName(self.service)
        output: Any = service.methods_by_name[self.name].output_type
        return GetMessageClass(output)

    @property
    def default_route(self) -> Route:
        """The first of its spellings."""
        return next(iter(self.routes.values()))

    def references(self, request: Any) -> tuple[str, ...]:
        """Returns the shipments or consignments that a request is for."""
        name = self.named_by
        if not name:
            return ()
        value = getattr(request, name)
        # A slice of it is copied at once. To iterate over it takes several times as long.
        return tuple(value[:]) if name in _MANY else (value,)

    def locks(self, request: Any) -> tuple[str, ...]:
        """Returns the names by which claims lock what a request is for: the same for each spelling of a reference.

        They are upstream's own spelling, which earlier releases lock as well: small letters at Ship, and capitals.
        """
        name = folded if self.api is _SHIP else capitalized
        return tuple([name(reference) for reference in self.references(request)])

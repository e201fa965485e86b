"""The shape of a row of the operation table."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from allocation_gateway.codecs.json import Defects, Object
    from allocation_gateway.settings import Settings

    Encode: TypeAlias = Callable[[Any, Settings], Object]
    Decode: TypeAlias = Callable[[Any, Any, Defects], Message]

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class Api(enum.Enum):
    """A REST API that the gateway stands in front of."""

    SHIP = "ship"


class Effect(enum.Enum):
    """What a call does upstream, which decides whether it may be cut short."""

    READ = "read"
    """Nothing is booked: a call that nobody waits for any more is cancelled."""
    ALLOCATE = "allocate"
    """A shipment is booked: once sent, the call is never cut."""
    ALLOCATE_BULK = "allocate_bulk"
    """Shipments are queued to be booked: once sent, the call is never cut."""
    DEALLOCATE = "deallocate"
    """A booking is taken back: once sent, the call is never cut."""

    @property
    def writes(self) -> bool:
        """True if the call changes something upstream."""
        return self is not Effect.READ


class Route:
    """A method and a path below the base URL, such as `PUT /shipments/{shipment_reference}/allocate`.

    The placeholders are fields of the request. Each becomes one path segment: every character that is not unreserved in
    RFC 3986 is percent-encoded, a slash and a percent sign too.
    """

    __slots__ = ("_fields", "_format", "method", "template")

    def __init__(self, method: str, template: str) -> None:
        self.method = method
        self.template = template
        self._fields = tuple(_PLACEHOLDER.findall(template))
        self._format = _PLACEHOLDER.sub("%s", template)

    def path(self, request: Message) -> str:
        """Returns the path for a request, percent-encoded."""
        return self._format % tuple(quote(getattr(request, field), safe="") for field in self._fields)


@dataclass(frozen=True, slots=True)
class Operation:
    """One rpc: how it is called upstream and how the answer is read.

    Attributes:
        name: The rpc's name within its service.
        service: The service's full name.
        request: The request message's class.
        api: The REST API that carries it out.
        effect: What it does there.
        routes: Its documented spellings by name. The first one is used unless the configuration names another.
        encode: Makes the JSON body; None if there is none.
        decode: Makes the response from the request and the JSON of a successful answer, and notes defects.
    """

    name: str
    service: str
    request: type[Message]
    api: Api
    effect: Effect
    routes: Mapping[str, Route]
    encode: Encode | None
    decode: Decode

    @property
    def full_name(self) -> str:
        """The rpc's name as telemetry and gRPC know it, without a leading slash."""
        return f"{self.service}/{self.name}"

"""Whether two requests with the same id ask for the same, decided alike by every release that is in use at a time.

A fingerprint begins with the version of the list of fields that it is made from: the lowest one that knows every field
which the caller has set. So a release that adds a field goes on making the fingerprints that its predecessor makes, for
every request that does without the new field.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

# By version: the fields that the callers of that version can set, in requests and in what they hold. Never change a
# list that was released; put a new field into a new one.
FIELDS: Final[Mapping[int, frozenset[str]]] = {
    1: frozenset(
        {
            "shipment_reference",
            "shipments",
            "consignment_reference",
            "consignments",
            "service_group",
            "carrier_service_reference",
            "virtual_service_reference",
            "quote_reference",
            "capabilities",
            "capabilities.type",
            "capabilities.value",
            "filters",
            "filters.direction",
            "filters.tags",
            "filters.pickup",
            "filters.drop_off",
            "label_format",
        }
    ),
}
# It names the request and is no part of what is asked for.
_NAME: Final = "request_id"
_DIGEST_BYTES: Final = 16


def fingerprint(operation: str, request: Message) -> str:
    """Returns the fingerprint of a request as its caller sent it: `<version>:<digest>`.

    Args:
        operation: The full name of the rpc.
        request: The request. Its id does not count.
    """
    parts = [operation]
    version = 1
    for name, value in _values(request):
        while name not in FIELDS[version]:
            version += 1
        # With its length no value can pass for the end of one and the beginning of another.
        parts.append(f"{name}={len(value)}:{value}")
    digest = blake2b("\n".join(parts).encode(), digest_size=_DIGEST_BYTES)
    return f"{version}:{digest.hexdigest()}"


def _values(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        name = path + field.name
        if name == _NAME:
            continue
        if value.__class__ is str:
            yield name, value
        elif field.message_type is None:
            yield from _scalars(name, value)
        else:
            for item in value if field.is_repeated else (value,):
                yield name, ""
                yield from _values(item, f"{name}.")


def _scalars(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, int):
        yield name, str(value)
    else:
        for item in value:
            yield name, item

"""Whether two requests with the same id ask for the same, decided alike by every release that is in use at a time.

A fingerprint is made from the fields that the caller has set, whichever the contract has. A field that a release adds
changes no fingerprint of a request that does without it, so that releases before and after agree on such requests.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

# Of the way in which fingerprints are made. Another way would need another number.
_VERSION: Final = 1
# It names the request and is no part of what is asked for.
_NAME: Final = "request_id"
_DIGEST_BYTES: Final = 16


def fingerprint(operation: str, request: Message) -> str:
    """Returns the fingerprint of a request as its caller sent it: `<version>:<digest>`.

    Args:
        operation: The full name of the rpc.
        request: The request. Its id does not count.
    """
    # With its length no value can pass for the end of one and the beginning of another.
    parts = [operation, *[f"{name}={len(value)}:{value}" for name, value in _values(request)]]
    digest = blake2b("\n".join(parts).encode(), digest_size=_DIGEST_BYTES)
    return f"{_VERSION}:{digest.hexdigest()}"


def fingerprints(operation: str, request: Message, field: str) -> Callable[[str], str]:
    """Returns what makes the fingerprints of requests that are alike but for the one value that a field has in each.

    Args:
        operation: The full name of the rpc.
        request: Any of them.
        field: The field, a text, or a list with a single one.
    """
    values = [*_values(request)]
    names = [name for name, _ in values]
    if names.count(field) != 1:
        raise ValueError(f"{field} has not one value")
    place = names.index(field)
    parts = [operation, *[f"{name}={len(value)}:{value}" for name, value in values]]
    before, after = parts[: place + 1], parts[place + 2 :]
    begun = blake2b("\n".join([*before, f"{field}="]).encode(), digest_size=_DIGEST_BYTES)
    rest = "".join(f"\n{part}" for part in after)

    def of(value: str) -> str:
        digest = begun.copy()
        digest.update(f"{len(value)}:{value}{rest}".encode())
        return f"{_VERSION}:{digest.hexdigest()}"

    return of


def _values(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        name = path + field.name
        if name == _NAME:
            continue
        if value.__class__ is str:
            yield name, value
        elif field.message_type is None:
            for item in value if field.is_repeated else (value,):
                yield name, _text(item)
        elif field.message_type.GetOptions().map_entry:
            for key in sorted(value):
                yield f"{name}.key", _text(key)
                yield from _part(f"{name}.value", value[key])
        else:
            for item in value if field.is_repeated else (value,):
                yield from _part(name, item)


def _part(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if not hasattr(value, "ListFields"):
        yield name, _text(value)
        return
    yield name, ""
    yield from _values(value, f"{name}.")


def _text(value: Any) -> str:
    """Returns a text, a number, a flag or bytes as text, in one way only."""
    if isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)

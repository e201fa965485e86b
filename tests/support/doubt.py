"""Writes of which the gateway cannot find out what became: upstream lets nobody read what they are about."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from support.status import Failure, failure
from support.upstream import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from support.upstream import Received, Reply, Upstream

K = TypeVar("K")

# How long their callers wait for what cannot come: long enough for the write itself on a busy machine. Of many at once
# each takes its part.
_PATIENCE: Final = 2.0
_PATIENCE_EACH: Final = 0.1
_NUMBERS: Final = itertools.count()
_NAME: Final = re.compile(rf"{UNREADABLE}\d+x")
_ONE: Final = ("shipment_reference", "consignment_reference")
_MANY: Final = ("shipments", "consignments")


def in_doubt(stub: Any, upstream: Upstream, cases: Mapping[K, tuple[Message, Reply]]) -> dict[K, Failure]:
    """Makes writes that have to fail, all at once, and returns how they did.

    Each is for shipments or consignments of its own: their references take the place of those that requests and answers
    name.

    Args:
        stub: Has the rpcs.
        upstream: Answers them.
        cases: The requests, and what upstream answers to each.
    """
    upstream.forget()
    replies: dict[str, Reply] = {}
    calls: dict[K, Any] = {}
    timeout = _PATIENCE + _PATIENCE_EACH * len(cases)
    before, upstream.default = upstream.default, lambda received: replies[_name(received)]
    try:
        for case, (request, reply) in cases.items():
            name = f"{UNREADABLE}{next(_NUMBERS)}x"
            renamed, names = _renamed(request, name)
            replies[name] = _translated(reply, names)
            rpc = getattr(stub, request.DESCRIPTOR.name.removesuffix("Request"))
            calls[case] = rpc.future(renamed, timeout=timeout)
        return {case: failure(call.result) for case, call in calls.items()}
    finally:
        upstream.default = before


def _renamed(request: Message, name: str) -> tuple[Message, dict[str, str]]:
    """Returns a request for other shipments or consignments, and their names by the former ones."""
    copy: Any = type(request)()
    copy.CopyFrom(request)
    names: dict[str, str] = {}
    for field in copy.DESCRIPTOR.fields_by_name:
        if field in _ONE:
            names[getattr(copy, field)] = name
            setattr(copy, field, name)
        elif field in _MANY:
            many = getattr(copy, field)
            names.update({former: f"{name}{number}" for number, former in enumerate(many)})
            many[:] = [names[former] for former in many]
    assert names, "the request names no shipment or consignment"
    return copy, names


def _translated(reply: Reply, names: Mapping[str, str]) -> Reply:
    if reply.headers:  # of its length or its encoding: it names nothing
        return reply
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    for former, name in names.items():
        body = body.replace(former.encode(), name.encode())
    return replace(reply, body=body)


def _name(received: Received) -> str:
    found = _NAME.search(received.line + received.body.decode())
    assert found is not None
    return found[0]

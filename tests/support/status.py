"""Reads what a failed call tells its caller, the way a caller does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from support import canaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.any_pb2 import Any as Packed
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")


@dataclass
class Failure:
    """A failed call.

    Attributes:
        code: The gRPC status code.
        message: The text.
        reason: The reason in the ErrorInfo; empty if there is none.
        metadata: The metadata in the ErrorInfo.
        details: Every detail, packed.
        trailers: The size of all trailers, as their text.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    details: list[Packed] = field(default_factory=list)

    def detail(self, kind: type[M]) -> M | None:
        """Returns the first detail of a type; None if there is none."""
        for packed in self.details:
            if packed.Is(kind.DESCRIPTOR):  # type: ignore[arg-type] # the two stubs differ on descriptors
                found = kind()
                packed.Unpack(found)
                return found
        return None


def failure(call: Callable[[], Any]) -> Failure:
    """Makes a call that has to fail, and returns how it did."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return failure_of(caught.value)


def failure_of(error: Any) -> Failure:
    """Returns what the error of a call tells."""
    canaries.search("a status", f"{error.details()} {error.trailing_metadata()}")
    status = rpc_status.from_call(error)
    found = Failure(error.code(), error.details() or "")
    if status is not None:
        found.details = list(status.details)
        info = found.detail(error_details_pb2.ErrorInfo)
        if info is not None:
            assert info.domain == "allocation.v1"
            found.reason, found.metadata = info.reason, dict(info.metadata)
    return found

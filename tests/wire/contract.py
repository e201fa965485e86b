"""The contract as a file of descriptors, for clients that have no stubs of the gateway or generate them when built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from allocation.v1 import shipment_allocation_service_pb2
from google.protobuf import descriptor_pb2, text_format
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

if TYPE_CHECKING:
    from pathlib import Path

_ROOTS: Final = (shipment_allocation_service_pb2, error_details_pb2, health_pb2)


def write_contract(path: Path) -> Path:
    """Writes what a client calls, each file after those that it imports. Returns where to."""
    contract = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()
    for module in _ROOTS:
        _add(module.DESCRIPTOR, contract, seen)
    # The two versions of reflection differ in nothing else.
    older = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    text = text_format.MessageToString(older).replace("v1alpha", "v1")
    contract.file.append(text_format.Parse(text, descriptor_pb2.FileDescriptorProto()))
    path.write_bytes(contract.SerializeToString(deterministic=True))
    return path


def _add(file: Any, contract: descriptor_pb2.FileDescriptorSet, seen: set[str]) -> None:
    if file.name in seen:
        return
    seen.add(file.name)
    for imported in file.dependencies:
        _add(imported, contract, seen)
    contract.file.append(descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb))

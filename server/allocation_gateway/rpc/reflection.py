"""Server reflection: what tools such as grpcurl ask a server about its contract.

It is served as grpc.reflection.v1 and as grpc.reflection.v1alpha, which are the same but for their names. The servicer
that comes with grpcio-reflection knows v1alpha alone, and finds no methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2 as pb

from allocation_gateway.callers.rpcs import REFLECTION
from allocation_gateway.errors import GatewayError
from allocation_gateway.rpc.base import abort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

    from allocation_gateway.callers.guard import Guard
    from allocation_gateway.rpc.base import Context
    from allocation_gateway.rpc.engines import GrpcEngine

_ALPHA: Final = "grpc.reflection.v1alpha"
_STABLE: Final = "grpc.reflection.v1"
SERVICES: Final = (f"{_STABLE}.ServerReflection", f"{_ALPHA}.ServerReflection")
_METHOD: Final = REFLECTION


class Reflection:
    """Answers questions about the messages and services of a descriptor pool."""

    def __init__(self, services: Iterable[str], pool: DescriptorPool, guard: Guard | None = None) -> None:
        """Takes what it tells of.

        Args:
            services: The full names of the services that the server lists.
            pool: The descriptors of all their files.
            guard: What is asked whether a caller may ask; None if everybody may.
        """
        self._guard = guard
        self._services = sorted(services)
        self._pool = pool

    async def answers(
        self, questions: AsyncIterator[pb.ServerReflectionRequest], context: Context
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        """Answers each question of a stream, in order. One that has no answer does not end the stream."""
        if self._guard is not None:
            await _admit(self._guard, context)
        async for question in questions:
            yield self.answer(question)

    def answer(self, question: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        """Returns the answer to a question, or the error that says why there is none."""
        answer = pb.ServerReflectionResponse(valid_host=question.host, original_request=question)
        kind = question.WhichOneof("message_request")
        try:
            if kind == "list_services":
                answer.list_services_response.service.extend(pb.ServiceResponse(name=name) for name in self._services)
            elif kind == "all_extension_numbers_of_type":
                answer.all_extension_numbers_response.CopyFrom(
                    self._extension_numbers(question.all_extension_numbers_of_type)
                )
            elif kind is not None:
                files = _with_dependencies(self._file(kind, question))
                answer.file_descriptor_response.file_descriptor_proto.extend(file.serialized_pb for file in files)
            else:
                _fail(answer, StatusCode.INVALID_ARGUMENT, "The request asks for nothing that this server knows.")
        except KeyError:
            _fail(answer, StatusCode.NOT_FOUND, f"There is nothing for {kind} {_asked(kind, question)!r}.")
        return answer

    def _extension_numbers(self, name: str) -> pb.ExtensionNumberResponse:
        message = self._pool.FindMessageTypeByName(name)
        numbers = sorted(extension.number for extension in self._pool.FindAllExtensions(message))
        return pb.ExtensionNumberResponse(base_type_name=message.full_name, extension_number=numbers)

    def _file(self, kind: str, question: pb.ServerReflectionRequest) -> FileDescriptor:
        """Returns the file that a question is about.

        Raises:
            KeyError: There is none.
        """
        if kind == "file_by_filename":
            return self._pool.FindFileByName(question.file_by_filename)
        if kind == "file_containing_symbol":
            return self._declaring(question.file_containing_symbol)
        asked = question.file_containing_extension
        message = self._pool.FindMessageTypeByName(asked.containing_type)
        extension = self._pool.FindExtensionByNumber(message, asked.extension_number)
        return self._pool.FindFileContainingSymbol(extension.full_name)

    def _declaring(self, name: str) -> FileDescriptor:
        """Returns the file that declares a symbol.

        Raises:
            KeyError: There is none.
        """
        try:
            return self._pool.FindFileContainingSymbol(name)
        except KeyError:
            whole, _, part = name.rpartition(".")
        found = self._pool.FindFileContainingSymbol(whole)
        # The pool finds no methods by itself. The values of an enum belong to the scope around it, and are looked for
        # within the enum as well.
        for find, parts in (
            (self._pool.FindServiceByName, "methods_by_name"),
            (self._pool.FindEnumTypeByName, "values_by_name"),
        ):
            try:
                names = getattr(find(whole), parts)
            except KeyError:
                continue
            if part in names:
                return found
        raise KeyError(name)


async def _admit(guard: Guard, context: Context) -> None:
    """Ends a stream of questions whose caller may not ask any.

    Raises:
        grpc.aio.AbortError: It may not.
    """
    fields: dict[str, Any] = {"rpc": _METHOD}
    try:
        grant = await guard.admit(_METHOD, context.invocation_metadata() or (), context.auth_context(), fields)
        if grant is not None:
            # A stream may stay open for long: it counts as the call that it was when it began.
            with grant.share:
                pass
    except GatewayError as error:
        fields.update(reason=error.reason_name, message=error.message, **error.info)
        guard.audit(error.code.name, fields, writes=False, references=tuple)
        await abort(context, error)


def add_reflection(services: Iterable[str], server: GrpcEngine, guard: Guard | None = None) -> None:
    """Adds server reflection to a server: about its services, and about reflection itself."""
    pool = descriptor_pool.Default()
    _declare_stable(pool)
    reflection = Reflection((*services, *SERVICES), pool, guard)
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        reflection.answers,
        request_deserializer=pb.ServerReflectionRequest.FromString,
        response_serializer=pb.ServerReflectionResponse.SerializeToString,
    )
    for service in SERVICES:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {_METHOD: handler}),))
        server.add_registered_method_handlers(service, {_METHOD: handler})


def _declare_stable(pool: DescriptorPool) -> None:
    """Puts the file of v1 into a pool: who lists the services asks for those of reflection as well."""
    name = "grpc/reflection/v1/reflection.proto"
    try:
        pool.FindFileByName(name)
    except KeyError:
        alpha: bytes = pb.DESCRIPTOR.serialized_pb
        file = descriptor_pb2.FileDescriptorProto.FromString(alpha)
        file.name, file.package = name, _STABLE
        file.ClearField("options")
        for message in file.message_type:
            for field in (field for field in message.field if field.type_name):
                field.type_name = _renamed(field.type_name)
        for service in file.service:
            service.ClearField("options")
            for method in service.method:
                method.input_type, method.output_type = _renamed(method.input_type), _renamed(method.output_type)
        pool.AddSerializedFile(file.SerializeToString())


def _renamed(type_name: str) -> str:
    return type_name.replace(f".{_ALPHA}.", f".{_STABLE}.")


def _with_dependencies(file: FileDescriptor) -> Iterable[FileDescriptor]:
    """Returns a file and all that it needs, each once, and itself first."""
    files = {file.name: file}
    pending = [file]
    while pending:
        for needed in pending.pop().dependencies:
            if needed.name not in files:
                files[needed.name] = needed
                pending.append(needed)
    return files.values()


def _asked(kind: str | None, question: pb.ServerReflectionRequest) -> str:
    if kind == "file_containing_extension":
        asked = question.file_containing_extension
        return f"{asked.containing_type}, {asked.extension_number}"
    return "" if kind is None else str(getattr(question, kind))


def _fail(answer: pb.ServerReflectionResponse, code: StatusCode, text: str) -> None:
    answer.error_response.error_code = code.value[0]
    answer.error_response.error_message = text

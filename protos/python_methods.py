"""Writes the methods of the Python client: one for each rpc, once to block and once to await.

Usage: python protos/python_methods.py <descriptors, with source information> <module to write>. generate.py runs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodDescriptorProto

_WIDTH: Final = 108
# The numbers of these fields in descriptor.proto, of which the paths of comments are made.
_MESSAGE, _MESSAGE_FIELD, _SERVICE, _METHOD = 4, 2, 6, 2
# The option of each method by which its account is chosen, and the field of some requests that may name the same one.
_ACCOUNT: Final = "account"
_SCALARS: Final = {
    FieldDescriptorProto.TYPE_STRING: ("str", '""'),
    FieldDescriptorProto.TYPE_BOOL: ("bool", "False"),
    FieldDescriptorProto.TYPE_INT32: ("int", "0"),
}
_HEAD: Final = '''"""The rpcs as methods. Generated from the contract by protos/python_methods.py: do not edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from allocation.v1 import {modules}

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from allocation.v1 import core_pb2
    from google.protobuf.message import Message

R = TypeVar("R", bound="Message")
'''
_CLASS: Final = '''

class {name}(ABC):
    """One method for each rpc.

    `timeout` is how many seconds a call may take with all its repetitions. `metadata` is sent besides that of the
    client. `account` is the account of the gateway that it is for, instead of the client's. A `request_id` is made for
    each call, unless one is given to learn what became of an earlier one.
    """

    @abstractmethod
    {word}def _invoke(
        self,
        path: str,
        request: Message,
        response: type[R],
        timeout: float | None,
        metadata: Mapping[str, str] | None,
        account: str | None,
    ) -> R:
        """Makes a call of the rpc at a path. Raises an AllocationError if it fails."""
'''


def write(descriptors: bytes, target: Path) -> None:
    """Writes the module from a serialized FileDescriptorSet that has source information."""
    files = FileDescriptorSet.FromString(descriptors).file
    kinds: dict[str, str] = {}
    zeros: dict[str, str] = {}
    for file in files:
        kinds |= {f".{file.package}.{kind.name}": f"{_module(file)}.{kind.name}" for kind in file.message_type}
        for enum in file.enum_type:
            kinds[f".{file.package}.{enum.name}"] = f"{_module(file)}.{enum.name}"
            zeros[f".{file.package}.{enum.name}"] = f"{_module(file)}.{enum.value[0].name}"
    contracts = [_Contract(file, kinds, zeros) for file in files if file.service]
    text = _HEAD.format(modules=", ".join(sorted(_module(contract.file) for contract in contracts)))
    for name, word in (("Methods", ""), ("AsyncMethods", "async ")):
        text += _CLASS.format(name=name, word=word)
        text += "".join(method for contract in contracts for method in contract.methods(word))
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run(  # noqa: S603
        [ruff, "format", "--line-length", "120", "-"], input=text, text=True, check=True, capture_output=True
    )
    target.write_text(done.stdout)


def _module(file: FileDescriptorProto) -> str:
    return f"{Path(file.name).stem}_pb2"


@dataclass(frozen=True)
class _Contract:
    """A file with services.

    Attributes:
        file: Its descriptor, with source information.
        kinds: How each message and enum of the package is spelled in Python, by its full name.
        zeros: How the first value of each enum is.
    """

    file: FileDescriptorProto
    kinds: dict[str, str]
    zeros: dict[str, str]

    def methods(self, word: str) -> Iterator[str]:
        """Returns the text of each method; the word stands before its `def`."""
        for number, service in enumerate(self.file.service):
            for index, method in enumerate(service.method):
                # A stream is not repeated as a call is: what it takes is not one request.
                if method.client_streaming or method.server_streaming:
                    continue
                about = self._comment(_SERVICE, number, _METHOD, index).removeprefix(f"{method.name} ")
                yield self._method(f"/{self.file.package}.{service.name}/{method.name}", method, about, word)

    def _comment(self, *path: int) -> str:
        """Returns the first paragraph of the comment at a path, in one line."""
        for location in self.file.source_code_info.location:
            if list(location.path) == list(path):
                return " ".join(location.leading_comments.split("\n\n")[0].split())
        return ""

    def _method(self, path: str, method: MethodDescriptorProto, about: str, word: str) -> str:
        request, response = self.kinds[method.input_type], self.kinds[method.output_type]
        number = next(i for i, kind in enumerate(self.file.message_type) if method.input_type.endswith(f".{kind.name}"))
        # What the option says the request need not repeat.
        every_field = enumerate(self.file.message_type[number].field)
        numbered = [(index, field) for index, field in every_field if field.name != _ACCOUNT]
        fields = [field for _, field in numbered]
        needed, optional = [], []
        for index, field in numbered:
            kind, default = self._kind(field)
            if self._comment(_MESSAGE, number, _MESSAGE_FIELD, index).startswith("Required."):
                needed.append(f"{field.name}: {kind}")
            else:
                optional.append(f"{field.name}: {kind} = {default}")
        every = [
            "timeout: float | None = None",
            "metadata: Mapping[str, str] | None = None",
            f"{_ACCOUNT}: str | None = None,",
        ]
        signature = ", ".join(["self", *needed, "*", *optional, *every])
        given = ", ".join(f"{field.name}={field.name}" for field in fields if not field.HasField("oneof_index"))
        chosen = "".join(
            f"    if {field.name} is not None:\n        request.{field.name} = {field.name}\n"
            for field in fields
            if field.HasField("oneof_index")
        )
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
        docstring = textwrap.fill(f'"""{about[0].upper()}{about[1:]}"""', _WIDTH)
        text = (
            f"{word}def {name}({signature}) -> {response}:\n{textwrap.indent(docstring, '    ')}\n"
            f"    request = {request}({given})\n{chosen}"
            f"    return {'await ' if word else ''}self._invoke("
            f'"{path}", request, {response}, timeout, metadata, account)\n'
        )
        return "\n" + textwrap.indent(text, "    ")

    def _kind(self, field: FieldDescriptorProto) -> tuple[str, str]:
        """Returns the annotation of a field, and what stands for its absence."""
        if field.type in _SCALARS:
            kind, default = _SCALARS[field.type]
        elif field.type == field.TYPE_ENUM:
            kind, default = f"{self.kinds[field.type_name]}.ValueType", self.zeros[field.type_name]
        else:
            kind, default = self.kinds[field.type_name], "None"
        if field.label == field.LABEL_REPEATED:
            return f"Iterable[{kind}]", "()"
        return (f"{kind} | None", "None") if field.HasField("oneof_index") else (kind, default)


if __name__ == "__main__":
    write(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))

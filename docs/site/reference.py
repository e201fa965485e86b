"""Writes the API reference from the descriptors: a page for each .proto file, and so for each service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "allocation.v1"
TITLES = {"core": "Allocations", "job": "Jobs", "error_reason": "Reasons of errors"}
SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in pb.FieldDescriptorProto.Type.items()
    if name not in {"TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP"}
}


def slug(file: str) -> str:
    """Returns the name of the page of a .proto file."""
    return file.rpartition("/")[2].removesuffix(".proto").replace("_", "-")


class Page:
    """The text of one .proto file's page."""

    def __init__(self, file: pb.FileDescriptorProto, homes: dict[str, str]) -> None:
        """`homes` tells the page of each message, enum and value by its name."""
        self.file, self.homes = file, homes
        self.comments = {tuple(part.path): part.leading_comments for part in file.source_code_info.location}
        stem = file.name.rpartition("/")[2].removesuffix(".proto")
        self.title = file.service[0].name if file.service else TITLES.get(stem, stem)
        self.lines = [f"# {self.title}", ""]

    def text(self) -> str:
        """Returns the whole page."""
        for number, service in enumerate(self.file.service):
            self.lines += [self.comment(6, number), "", "## Rpcs", ""]
            for index, rpc in enumerate(service.method):
                self.rpc(rpc, self.comment(6, number, 2, index))
        if self.file.message_type:
            self.lines += ["## Messages", ""]
        for number, message in enumerate(self.file.message_type):
            self.message(message, message.name, 4, number)
        if self.file.enum_type and self.file.message_type:
            self.lines += ["## Enums", ""]
        for number, enum in enumerate(self.file.enum_type):
            self.enum(enum, enum.name, 5, number)
        return "\n".join(self.lines)

    def comment(self, *path: int) -> str:
        """Returns the comment of what is at a path, with its reasons of errors led to where they are told."""
        text = re.sub(r"^ ", "", self.comments.get(path, ""), flags=re.MULTILINE).strip()
        # In a list of errors the code of gRPC comes first, which may be spelled as a reason is.
        return re.sub(r"\b[A-Z]+(?:_[A-Z]+)+\b(?! \()", lambda match: self.reason(match[0]), text)

    def reason(self, name: str) -> str:
        """Returns a link to the reason of an error, or the name itself if it is none."""
        key = f"ERROR_REASON_{name}"
        key = key if key in self.homes else name
        return f"[{name}]({self.homes[key]}.md#{key})" if self.homes.get(key) == "error-reason" else name

    def link(self, name: str) -> str:
        """Returns the name of a type, as a link if it is one of ours."""
        short = name.removeprefix(f".{PACKAGE}.")
        return f"[{short}]({self.homes[short]}.md#{short})" if short in self.homes else f"`{name.lstrip('.')}`"

    def rpc(self, rpc: pb.MethodDescriptorProto, comment: str) -> None:
        """Adds an rpc."""
        asked = ("a stream of " if rpc.client_streaming else "") + self.link(rpc.input_type)
        given = ("a stream of " if rpc.server_streaming else "") + self.link(rpc.output_type)
        self.lines += [f"### {rpc.name} {{ #{rpc.name} }}", "", f"Takes {asked}, gives {given}.", "", comment, ""]

    def message(self, message: pb.DescriptorProto, name: str, *path: int) -> None:
        """Adds a message, its fields, and what is declared in it."""
        self.lines += [f"### {name} {{ #{name} }}", "", self.comment(*path), ""]
        nested = {f".{PACKAGE}.{name}.{each.name}": each for each in message.nested_type if each.options.map_entry}
        for number, field in enumerate(message.field):
            if field.type_name in nested:
                key, value = nested[field.type_name].field
                kind = f"map of {self.kind(key)} to {self.kind(value)}"
            else:
                kind = self.kind(field)
            notes = [kind]
            if field.label == pb.FieldDescriptorProto.LABEL_REPEATED and field.type_name not in nested:
                notes = [f"repeated {kind}"]
            if field.proto3_optional:
                notes.append("optional")
            elif field.HasField("oneof_index"):
                notes.append(f"one of `{message.oneof_decl[field.oneof_index].name}`")
            notes.append(f"field {field.number}")
            self.entry(f"`{field.name}` {', '.join(notes)}", f"{name}.{field.name}", self.comment(*path, 2, number))
        synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
        for number, oneof in enumerate(message.oneof_decl):
            if number not in synthetic:
                self.entry(f"`{oneof.name}` oneof", f"{name}.{oneof.name}", self.comment(*path, 8, number))
        for number, inner in enumerate(message.nested_type):
            if not inner.options.map_entry:
                self.message(inner, f"{name}.{inner.name}", *path, 3, number)
        for number, enum in enumerate(message.enum_type):
            self.enum(enum, f"{name}.{enum.name}", *path, 4, number)

    def kind(self, field: pb.FieldDescriptorProto) -> str:
        """Returns the type of a field."""
        return SCALARS[field.type] if field.type in SCALARS else self.link(field.type_name)

    def enum(self, enum: pb.EnumDescriptorProto, name: str, *path: int) -> None:
        """Adds an enum and its values."""
        self.lines += [f"### {name} {{ #{name} }}", "", self.comment(*path), ""]
        for number, value in enumerate(enum.value):
            self.entry(f"`{value.name}` {value.number}", value.name, self.comment(*path, 2, number))

    def entry(self, term: str, anchor: str, text: str) -> None:
        """Adds a field or value with its description."""
        indented = "\n".join(f"    {line}".rstrip() for line in text.splitlines()).lstrip()
        self.lines += [f"{term} {{ #{anchor} }}", f":   {indented or '-'}", ""]


def names(message: pb.DescriptorProto, prefix: str = "") -> Iterator[str]:
    """Yields the names of a message and of what is declared in it."""
    name = f"{prefix}{message.name}"
    yield name
    yield from (f"{name}.{enum.name}" for enum in message.enum_type)
    for inner in message.nested_type:
        yield from names(inner, f"{name}.")


def write(descriptors: Path, folder: Path) -> list[tuple[str, str]]:
    """Writes the pages, and returns their titles and names in the order of the navigation: services first."""
    everything = pb.FileDescriptorSet.FromString(descriptors.read_bytes()).file
    files = [file for file in everything if file.package == PACKAGE]
    files.sort(key=lambda file: (not file.service, file.name))
    homes: dict[str, str] = {}
    for file in files:
        home = slug(file.name)
        homes |= {name: home for message in file.message_type for name in names(message)}
        homes |= {name: home for enum in file.enum_type for name in (enum.name, *(each.name for each in enum.value))}
    folder.mkdir(parents=True, exist_ok=True)
    pages = [("Overview", "README.md")]
    index = ["# API reference", "", f"The package `{PACKAGE}`, from its `.proto` files.", ""]
    for file in files:
        page = Page(file, homes)
        (folder / f"{slug(file.name)}.md").write_text(page.text() + "\n")
        pages.append((page.title, f"{slug(file.name)}.md"))
        index.append(f"- [{page.title}]({slug(file.name)}.md)")
        index += [
            f"    - [{rpc.name}]({slug(file.name)}.md#{rpc.name})" for each in file.service for rpc in each.method
        ]
    (folder / "README.md").write_text("\n".join(index) + "\n")
    return pages

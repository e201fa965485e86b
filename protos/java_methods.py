"""Writes the methods of the Java client: for each rpc four, to wait for its answer or not, with options or without.

Usage: python protos/java_methods.py <descriptors, with source information> <folder to write to>. generate.py runs it.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto

_WIDTH: Final = 118
# The numbers of these fields in descriptor.proto, of which the paths of comments are made.
_SERVICE, _METHOD = 6, 2
_CLASS: Final = """\
package com.allocationgateway.client;

{imports}

/** The rpcs as methods. Generated from the contract by protos/java_methods.py: do not edit. */
public class {name} {{
  private final Caller caller;

  {name}(Caller caller) {{
    this.caller = caller;
  }}
{methods}}}
"""
_METHODS: Final = """
  /**
{about}
   *
   * @throws AllocationException it failed
   */
  public final {response} {name}(
      {request} request) {{
    return {name}(request, RequestOptions.DEFAULT);
  }}

  /**
   * The same, with options.
   *
   * @throws AllocationException it failed
   */
  public final {response} {name}(
      {request} request, RequestOptions options) {{
    return caller.call(
        {service}Grpc.get{rpc}Method(), request, options);
  }}

  /**
   * Does not wait for the answer. Cancelling the future ends the call.
   *
   * @see #{name}({request})
   */
  public final CompletableFuture<{response}> {name}Async(
      {request} request) {{
    return {name}Async(request, RequestOptions.DEFAULT);
  }}

  /** The same, with options. */
  public final CompletableFuture<{response}> {name}Async(
      {request} request, RequestOptions options) {{
    return caller.callAsync(
        {service}Grpc.get{rpc}Method(), request, options);
  }}
"""


def write(descriptors: bytes, folder: Path) -> None:
    """Writes a class for each service from a serialized FileDescriptorSet that has source information."""
    for file in FileDescriptorSet.FromString(descriptors).file:
        for number, service in enumerate(file.service):
            name = f"{service.name.removesuffix('Service').removesuffix('Allocation')}Calls"
            (folder / f"{name}.java").write_text(_text(name, file, number, service))


def _text(name: str, file: FileDescriptorProto, number: int, service: ServiceDescriptorProto) -> str:
    # A stream is not repeated as a call is: what calls it is written by hand.
    methods = {
        index: method
        for index, method in enumerate(service.method)
        if not method.client_streaming and not method.server_streaming
    }
    package = file.options.java_package
    kinds = {kind for method in methods.values() for kind in (_kind(method.input_type), _kind(method.output_type))}
    imports = [f"import {package}.{kind};" for kind in sorted({*kinds, f"{service.name}Grpc"})]
    return _CLASS.format(
        name=name,
        imports="\n".join([*imports, "import java.util.concurrent.CompletableFuture;"]),
        methods="".join(
            _METHODS.format(
                about="\n".join(_about(file, method, number, index)),
                name=f"{method.name[0].lower()}{method.name[1:]}",
                rpc=method.name,
                request=_kind(method.input_type),
                response=_kind(method.output_type),
                service=service.name,
            )
            for index, method in methods.items()
        ),
    )


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _about(file: FileDescriptorProto, method: MethodDescriptorProto, number: int, index: int) -> Iterator[str]:
    """Yields the lines of the first paragraph of an rpc's comment, as Javadoc has it."""
    path = [_SERVICE, number, _METHOD, index]
    comment = next(one.leading_comments for one in file.source_code_info.location if list(one.path) == path)
    text = " ".join(comment.split("\n\n")[0].split()).removeprefix(f"{method.name} ")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    code = re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped)
    return (f"   * {line}" for line in textwrap.wrap(f"{code[0].upper()}{code[1:]}", _WIDTH - 5))


if __name__ == "__main__":
    write(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]))

"""Writes what the chart says twice: the descriptions and settings of its schema, and the table in its README.

Usage: python helm/generate.py

The comments of values.yaml are the source of the descriptions; allocation_gateway.settings that of the settings. The
types, bounds and closedness of every other value are written by hand in values.schema.json.
"""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec
import yaml
from allocation_gateway.settings import FIELDS, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHART = Path(__file__).resolve().parent / "allocation-gateway"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
MARKS = ("<!-- values: made by helm/generate.py -->", "<!-- end of values -->")

# What the chart decides itself: addresses, ports and the paths of mounted files. A secret is never a value.
DECIDED = frozenset(
    {"host", "port", "health_port", "sandbox_port", "tls_cert_file", "tls_key_file", "tls_client_ca_file"}
    | {"ship_api_key", "ship_api_key_file", "consignments_api_key", "consignments_api_key_file"}
    | {"service_group_catalogue_file", "cache_url", "store_url", "replicas"}
)
# The grace period of pods is computed from them.
NEEDED = ("shutdown_delay", "shutdown_grace", "telemetry_flush_timeout")
SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def comments(text: str) -> dict[str, str]:
    """Returns the comment directly above each key of a YAML text, by the key's dotted path."""
    lines = text.splitlines()
    found = {}
    for path, line in _keys(yaml.compose(text), ""):
        first = line
        while first and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        comment = " ".join(part.strip().removeprefix("#").strip() for part in lines[first:line])
        if comment:
            found[path] = comment
    return found


def _keys(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        yield path, key.start_mark.line
        yield from _keys(value, f"{path}.")


def leaves(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Returns the paths of the values that are set as a whole: those whose parts the schema does not name."""
    for name, part in schema["properties"].items():
        path = f"{prefix}{name}"
        if "properties" in part and path != "settings":
            yield from leaves(part, f"{path}.")
        else:
            yield path


def described(schema: dict[str, Any], texts: Mapping[str, str], prefix: str = "") -> None:
    """Puts the comments into a schema as descriptions."""
    for name, part in schema["properties"].items():
        path = f"{prefix}{name}"
        if path in texts:
            part["description"] = texts[path]
        if "properties" in part:
            described(part, texts, f"{path}.")


def setting(kind: object) -> dict[str, Any]:
    """Returns the schema of one setting's type."""
    if get_origin(kind) is not None and hasattr(kind, "__metadata__"):
        inner, *rest = get_args(kind)
        schema = setting(inner)
        for meta in (part for part in rest if isinstance(part, msgspec.Meta)):
            bounds = {"minimum": meta.ge, "exclusiveMinimum": meta.gt, "maximum": meta.le}
            schema |= {name: bound for name, bound in bounds.items() if bound is not None}
        return schema
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:
        return setting(next(argument for argument in arguments if argument is not type(None)))
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": setting(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": setting(arguments[1])}
    if isinstance(kind, type) and kind in SCALARS:
        return {"type": SCALARS[kind]}
    if kind in {Path, Secret}:
        return {"type": "string"}
    raise TypeError(f"no schema for {kind}")


def settings() -> dict[str, Any]:
    """Returns the schema of `settings`."""
    properties = {
        name: setting(field.hint) | {"description": field.description}
        for name, field in FIELDS.items()
        if name not in DECIDED
    }
    return {"type": "object", "additionalProperties": False, "required": list(NEEDED), "properties": properties}


def schema(text: str) -> str:
    """Returns values.schema.json, made anew from what it is now."""
    content: dict[str, Any] = json.loads(text)
    content["properties"]["settings"] = settings()
    described(content, comments(VALUES.read_text()))
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def table() -> str:
    """Returns the table of values."""
    values, texts = yaml.safe_load(VALUES.read_text()), comments(VALUES.read_text())
    rows = ["| Value | Default | What it is |", "| --- | --- | --- |"]
    for path in leaves(json.loads(SCHEMA.read_text())):
        default = values
        for name in path.split("."):
            default = default[name]
        text = json.dumps(default, ensure_ascii=False) if default is not None else ""
        rows.append(f"| `{path}` | {f'`{text}`' if text else ''} | {texts[path]} |")
    return "\n".join(rows)


def readme(text: str) -> str:
    """Returns README.md with the table made anew."""
    start, end = MARKS
    pattern = re.compile(re.escape(start) + ".*" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{start}\n\n{table()}\n\n{end}", text)


def main() -> None:
    """Rewrites both files."""
    SCHEMA.write_text(schema(SCHEMA.read_text()))
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    main()

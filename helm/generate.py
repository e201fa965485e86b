"""Writes what the chart says twice: descriptions and settings of its schema, rules of settings, the README's table.

Usage: python helm/generate.py

The comments of values.yaml are the source of the descriptions; allocation_gateway.settings that of the settings and of
the rules for them that templates have to apply, since a schema cannot. The types, bounds and closedness of every other
value are written by hand in values.schema.json.
"""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec
import yaml
from allocation_gateway.operations import table as operations
from allocation_gateway.settings import FIELDS, Secret, wording
from allocation_gateway.settings.loading import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHART = Path(__file__).resolve().parent / "allocation-gateway"
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
RULES = CHART / "templates" / "_rules.tpl"
MARKS = ("<!-- values: made by helm/generate.py -->", "<!-- end of values -->")

# Secrets, and files that are secret or come with them: by existing Secrets that values name, or by `extraEnv` where
# they come from elsewhere. A secret is never a value.
GIVEN = frozenset(
    {"tls_cert_file", "tls_key_file", "tls_client_ca_file", "service_group_catalogue_file", "cache_url", "store_url"}
    | {"ship_api_key", "ship_api_key_file", "consignments_api_key", "consignments_api_key_file"}
)
# What the chart decides itself: that, and addresses, ports and how many there are.
DECIDED = GIVEN | {"host", "port", "health_port", "sandbox_port", "sandbox_shipments", "replicas"}
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


def require(schema: dict[str, Any]) -> None:
    """Has a schema refuse `null` for what has parts, is a switch or is a number: templates could not go on without it.

    Lists, maps and texts may be null, which is the same as none.
    """
    schema["required"] = [
        name
        for name, part in schema["properties"].items()
        if name != "global" and ("properties" in part or part.get("type") in ("boolean", "integer"))
    ]
    for name, part in schema["properties"].items():
        if "properties" in part and name not in {"global", "settings"}:
            require(part)


def setting(kind: object) -> dict[str, Any]:
    """Returns the schema of one setting's type."""
    if get_origin(kind) is not None and hasattr(kind, "__metadata__"):
        inner, *rest = get_args(kind)
        schema = setting(inner)
        for meta in (part for part in rest if isinstance(part, msgspec.Meta)):
            # The bound of what must be above 0 belongs to the schema: that it is none itself is for rules() to say, in
            # better words than "got 0, want 0".
            bounds = {"minimum": meta.ge if meta.gt is None else meta.gt, "maximum": meta.le}
            schema |= {name: bound for name, bound in bounds.items() if bound is not None}
            schema |= meta.extra_json_schema or {}
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
    for api, spellings in operations.spellings().items():
        spelled = {f"^{name}$": {"enum": sorted(known)} for name, known in spellings.items()}
        seconds = properties[f"{api}_settle_times"]["additionalProperties"]
        settled = {f"^({'|'.join(spellings)})$": seconds}
        properties[f"{api}_routes"] |= {"patternProperties": spelled, "additionalProperties": False}
        properties[f"{api}_settle_times"] |= {"patternProperties": settled, "additionalProperties": False}
        properties[f"{api}_disabled_operations"]["items"] = {"enum": sorted(spellings)}
    return {"type": "object", "additionalProperties": False, "required": list(NEEDED), "properties": properties}


def positive(kind: object) -> object:
    """Returns the type of a number that must be above 0, the setting's own or its table's values', or None."""
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    if any(meta.gt is not None for meta in metas):
        return kind
    inner = get_args(kind)[0] if metas else kind
    return positive(get_args(inner)[1]) if get_origin(inner) is dict else None


def rules(_: str) -> str:
    """Returns the template with what other templates know of the settings.

    `defaults` are those that are numbers or texts; `positive` says of what must not be 0 what it must be; `names` are
    all that the environment may have, of which `given` may come by `extraEnv`, and `decided` are for the chart alone.
    """
    above = {name: positive(field.hint) for name, field in FIELDS.items() if name not in DECIDED}
    known = {
        "defaults": {
            name: field.default
            for name, field in FIELDS.items()
            if name not in DECIDED and isinstance(field.default, int | float | str)
        },
        "positive": {name: wording.sentence(kind, 0, is_from_text=False) for name, kind in above.items() if kind},
        "names": sorted([*FIELDS, CONFIG_FILE]),
        "given": sorted(GIVEN),
        "decided": sorted({*DECIDED, CONFIG_FILE} - GIVEN),
    }
    text = json.dumps(known, indent=2, ensure_ascii=False)
    return (
        "{{/* What the gateway's settings are, as JSON. Made by helm/generate.py. */}}\n"
        f'{{{{- define "allocation-gateway.rules" -}}}}\n{text}\n{{{{- end }}}}\n'
    )


def schema(text: str) -> str:
    """Returns values.schema.json, made anew from what it is now."""
    content: dict[str, Any] = json.loads(text)
    content["properties"]["settings"] = settings()
    described(content, comments(VALUES.read_text()))
    require(content)
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
    """Rewrites all of it."""
    SCHEMA.write_text(schema(SCHEMA.read_text()))
    RULES.write_text(rules(""))
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    main()

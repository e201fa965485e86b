"""The documented shapes of JSON objects, each written once: as the fields of the message that it becomes.

What is as documented has its types checked by the JSON decoder itself, in C, while it is parsed. Then only those fields
are left to be seen to whose value says more than its type does, such as a price; no path is made for them. An answer in
which anything is not as documented is read again, field by field and by the same declarations, so that each defect is
told with its path and costs no other field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypedDict

import msgspec

from allocation_gateway.codecs import json
from allocation_gateway.codecs.findings import Findings
from allocation_gateway.codecs.values import Number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allocation_gateway.codecs.json import Object

    ReadField: TypeAlias = Callable[[Object, str, str, Findings], Any]
    ReadObject: TypeAlias = Callable[[Object, str, Findings], Any]
    ReadBody: TypeAlias = Callable[[Any, Findings], Any]


class Field(NamedTuple):
    """How a field of a message is read.

    Attributes:
        type: What the decoder has to find, as msgspec's types.
        read: Reads it from an object of which nothing is known. Takes the object, the key, the path that leads to the
            object, and the findings.
        refine: Reads it from an object whose values have their types; None if the value is the field as it is. It gets
            no path. If it finds anything, what it returns is not used.
        always: Whether it is read from an object that has nothing below its key, too.
        key: The key in the JSON object; empty if it is the field's name.
    """

    type: Any
    read: ReadField
    refine: ReadField | None = None
    always: bool = False
    key: str = ""

    def at(self, key: str) -> Field:
        """Returns the same below another key than the field's name."""
        return self._replace(key=key)


class Schema:
    """The fields of a message. Null and absent are the same, and what is not declared is passed over.

    Attributes:
        type: The JSON object, as msgspec's types.
        is_plain: True if there is nothing to refine.
        refine: Makes an object whose values have their types into the fields, in place, without a word of where it is.
    """

    __slots__ = ("_fields", "is_plain", "refine", "type")

    def __init__(self, **fields: Field) -> None:
        """Declares them in the order in which their defects are told. Of a key with two fields, the text is first."""
        keyed = {name: field.key or name for name, field in fields.items()}
        self._fields = tuple((name, keyed[name], field.read) for name, field in fields.items())
        self.is_plain = all(field.refine is None and name == keyed[name] for name, field in fields.items())
        self.refine: ReadObject = _straight({name: (keyed[name], field) for name, field in fields.items()})
        types = {keyed[name]: field.type for name, field in fields.items()}
        self.type: Any = TypedDict("Source", types, total=False)  # type: ignore[misc] # it is for msgspec, at run time

    def read(self, source: Object, path: str, findings: Findings) -> Object:
        """Returns the fields of an object of which nothing is known."""
        return {name: read(source, key, path, findings) for name, key, read in self._fields}


def _straight(fields: Mapping[str, tuple[str, Field]]) -> ReadObject:
    """Returns Schema.refine for some fields, each with its key, as code without a loop.

    It runs a dozen times for an allocation. Written out, it costs half of what a loop over the fields does.
    """
    renamed, refined, readers = [], [], {}
    for number, (name, (key, field)) in enumerate(fields.items()):
        if field.refine is not None:
            readers[f"refine_{number}"] = field.refine
            condition = "" if field.always else f"if {key!r} in source: "
            refined.append(f"{condition}source[{name!r}] = refine_{number}(source, {key!r}, path, findings)")
        elif name != key:
            renamed.append(f"if {key!r} in source: source[{name!r}] = source[{key!r}]")
    surplus = [f"source.pop({key!r}, None)" for key in {key for key, _ in fields.values()} - set(fields)]
    lines = [*renamed, *refined, *surplus, "return source"]
    code = "def refine(source, path, findings):\n" + "".join(f"    {line}\n" for line in lines)
    namespace: dict[str, Any] = dict(readers)
    exec(compile(code, f"<schema of {', '.join(fields)}>", "exec"), namespace)  # noqa: S102 # names of our own alone
    refine: ReadObject = namespace["refine"]
    return refine


def own(read: ReadField, *, always: bool = False) -> Field:
    """Returns a field of which its reader sees to everything."""
    return Field(Any, read, read, always)


def spelled(values: Mapping[str, int], prefix: str = "") -> Field:
    """Returns an enum by upstream's spelling. What is no text is for the text's own field.

    Its case tells nothing, and words may be joined without an underscore: `AllocationFailed` is `allocation_failed`.
    """
    usual = {f"{prefix}{text}": number for text, number in values.items()}
    joined = {f"{prefix}{text}".replace("_", ""): number for text, number in values.items()}

    def number(source: Object, key: str, _: str, __: Findings) -> int:
        text = source.get(key)
        if text.__class__ is not str:
            return 0
        if known := usual.get(text):
            return known
        small = text.lower()
        return values.get(small.removeprefix(prefix)) or joined.get(small, 0)

    return Field(str | None, number, number)


def decisive(field: Field) -> Field:
    """Returns the same field as one that decides: if it cannot be read, the thing is not what it is about."""

    def read(source: Object, key: str, path: str, findings: Findings) -> Any:
        return field.read(source, key, path, findings.decisive)

    return field._replace(read=read)


def descriptive(field: Field) -> Field:
    """Returns the same field as one that decides nothing, within something that does."""

    def read(source: Object, key: str, path: str, findings: Findings) -> Any:
        return field.read(source, key, path, findings.descriptive)

    return field._replace(read=read)


def one(schema: Schema) -> Field:
    """Returns an object."""
    return one_by(schema.type, schema.read, None if schema.is_plain else schema.refine)


def decisive_one(schema: Schema) -> Field:
    """Returns an object that has to be one, and of whose fields only those decide that say so."""

    def read(source: Object, path: str, findings: Findings) -> Object:
        return schema.read(source, path, findings.descriptive)

    return decisive(one_by(schema.type, read, None if schema.is_plain else schema.refine))


def one_by(kind: Any, read: ReadObject, refine: ReadObject | None) -> Field:
    """Returns an object with readers of its own: for one of which nothing is known, and for one of its type."""

    def read_one(source: Object, key: str, path: str, findings: Findings) -> Any:
        return json.child(source, key, path, findings, read)

    if refine is None:
        return Field(kind | None, read_one)

    def refine_one(source: Object, key: str, path: str, findings: Findings) -> Any:
        value = source[key]
        return None if value is None else refine(value, path, findings)

    return Field(kind | None, read_one, refine_one)


def many(schema: Schema) -> Field:
    """Returns an array of objects."""

    def read(source: Object, key: str, path: str, findings: Findings) -> list[Object]:
        return json.children(source, key, path, findings, schema.read)

    return _array(schema, read)


def things(schema: Schema) -> Field:
    """Returns an array that decides, of objects each of which becomes a message that names itself what it lacks."""

    def read(source: Object, key: str, path: str, findings: Findings) -> list[Object]:
        return json.things(json.array(source, key, path, findings.decisive), f"{path}{key}", findings, schema.read)

    return _array(schema, read)


def _array(schema: Schema, read: ReadField) -> Field:
    def refine(source: Object, key: str, path: str, findings: Findings) -> list[Object]:
        items: list[Object] = source[key] or []
        for item in items:
            schema.refine(item, path, findings)
        return items

    return Field(list[schema.type] | None, read, None if schema.is_plain else refine)  # type: ignore[name-defined]


class Document:
    """The schema of a whole answer, or several of them."""

    __slots__ = ("_decode", "_read", "_refine")

    def __init__(self, kind: Any, read: ReadBody, refine: ReadBody) -> None:
        """Takes its type, as msgspec's types, and what reads its fields.

        Args:
            kind: The type.
            read: Reads them from JSON of which nothing is known.
            refine: Reads them from what has the type.
        """
        self._decode: Final = msgspec.json.Decoder(kind, float_hook=Number).decode
        self._read: Final = read
        self._refine: Final = refine

    @classmethod
    def of(cls, schema: Schema) -> Document:
        """Returns the document that is one object."""
        return cls(
            schema.type,
            lambda body, findings: schema.read(json.whole(body, findings), "", findings),
            lambda body, findings: schema.refine(body, "", findings),
        )

    def decode(self, data: bytes) -> Any:
        """Returns the fields of an answer that is as documented in all its parts; else, or if it is no JSON, None."""
        try:
            # The decoder does not look whether what it passes over is text.
            body = self._decode(data if data.isascii() else data.decode("utf-8-sig"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        findings = Findings()
        fields = self._refine(body, findings)
        return None if findings else fields

    def read(self, body: Any, findings: Findings) -> Any:
        """Returns the fields that can be read of an answer, with a field `unreadable` for what cannot be."""
        fields = self._read(body, findings)
        if fields is not None and (unreadable := findings.claim()):
            fields["unreadable"] = unreadable
        return fields


TEXT: Final = Field(str | None, json.string)
REQUIRED: Final = Field(str | None, json.required, json.required, always=True)
TEXTS: Final = Field(list[str] | None, json.strings)
FLAG: Final = Field(bool | None, json.boolean)

"""Reads TOML and YAML so that what is wrong with the content can be told with its line."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Path: TypeAlias = tuple[str | int, ...]

YAML_ENDINGS: Final = frozenset({".yaml", ".yml"})
TOML_ENDINGS: Final = frozenset({".toml"})
_DEEPEST: Final = 20
# libyaml's, where there is one: ten times as fast.
_YAML: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOML_TABLE: Final = re.compile(r"\s*\[\[\s*([\w-]+)\s*\]\]")
_TOML_OTHER_TABLE: Final = re.compile(r"\s*\[\s*([\w-]+)")
_TOML_KEY: Final = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")
_TOML_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class CatalogueProblem(NamedTuple):
    """What is wrong with a document, and where.

    Attributes:
        line: The line, from 1 on; 0 if it is not known.
        key: The path of the key, such as `service_groups[2].code`; empty if it is about no key.
        text: What is wrong.
    """

    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.key) if part)
        return f"{where}: {self.text}" if where else self.text


class NotADocumentError(Exception):
    """The text is not what its file's ending says.

    Attributes:
        problem: Why.
    """

    def __init__(self, problem: CatalogueProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class CatalogueDocument(NamedTuple):
    """The content of a file.

    Attributes:
        content: The data.
        line_of: Tells the line of a key by its path; 0 if it is not known.
    """

    content: Any
    line_of: Callable[[Path], int]


def dotted(path: Path) -> str:
    """Returns a path as people write it: `service_groups[2].code`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read_toml(text: str) -> CatalogueDocument:
    """Parses TOML.

    Raises:
        NotADocumentError: It is none.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else len(text.splitlines()) if place else 0
        what = _TOML_PLACE.sub("", str(error))
        raise NotADocumentError(CatalogueProblem(line, "", f"is not valid TOML: {what}")) from None
    except RecursionError:
        raise NotADocumentError(CatalogueProblem(0, "", "is not usable TOML: it nests too deeply")) from None
    lines = dict(_toml_lines(text))
    return CatalogueDocument(content, lambda path: _nearest(lines, path))


def _toml_lines(text: str) -> Iterator[tuple[Path, int]]:
    """Finds the lines of keys and of `[[tables]]`, as far as this can be seen without parsing: for messages only."""
    inside: Path = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if table := _TOML_TABLE.match(line):
            name = table[1]
            counts[name] = counts.get(name, -1) + 1
            inside = (name, counts[name])
            yield inside, number
        elif other := _TOML_OTHER_TABLE.match(line):
            inside = (other[1],)
            yield inside, number
        elif key := _TOML_KEY.match(line):
            yield (*inside, key[1]), number


def _nearest(lines: Mapping[Path, int], path: Path) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def read_yaml(text: str) -> CatalogueDocument:
    """Parses YAML. A key that is there twice and an alias are refused: neither says what is meant.

    Raises:
        NotADocumentError: It is none.
    """
    try:
        _check_depth(text)
        node = yaml.compose(text, _YAML)
        lines: dict[Path, int] = {}
        content = None if node is None else _YamlReader(lines).read(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise NotADocumentError(
            CatalogueProblem(line, "", f"is not valid YAML: {error.problem or error.context}")
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise NotADocumentError(CatalogueProblem(0, "", f"is not valid YAML: {type(error).__name__}")) from None
    return CatalogueDocument(content, lambda path: _nearest(lines, path))


def _check_depth(text: str) -> None:
    """Refuses what nests deeply, before anything goes into that depth that could not come back."""
    depth = 0
    for event in yaml.parse(text, _YAML):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise NotADocumentError(CatalogueProblem(line, "", "is not usable YAML: it nests too deeply"))


class _YamlReader:
    """Turns nodes into data, and notes the line of each."""

    def __init__(self, lines: dict[Path, int]) -> None:
        self._lines = lines
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def read(self, node: yaml.Node, path: Path) -> Any:
        """Returns the data of a node."""
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalars.construct_object(node)
        if id(node) in self._seen:
            # Also what keeps a few lines from becoming gigabytes.
            raise NotADocumentError(CatalogueProblem(line, dotted(path), "aliases of YAML are not supported"))
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in found:
                raise NotADocumentError(CatalogueProblem(line, dotted((*path, name)), "is given twice"))
            self._lines[*path, name] = line
            found[name] = self.read(value, (*path, name))
        return found

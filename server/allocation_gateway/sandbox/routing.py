"""Paths to endpoints. Segments are matched and decoded one by one, so that `%2F` stays inside its segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

E = TypeVar("E")


def split_path(raw_path: str) -> list[str]:
    """The decoded segments of a raw request path: each percent-decoded exactly once, after splitting on '/'.

    Bytes that are not UTF-8 become U+FFFD, which names nothing that exists.
    """
    return [unquote(segment) for segment in raw_path.split("/")[1:]]


@dataclass(frozen=True, slots=True)
class Found(Generic[E]):
    """Where a request leads. `endpoint` is None when the path exists but not with this method."""

    template: str
    endpoint: E | None
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Route(Generic[E]):
    method: str
    template: str
    segments: tuple[str, ...]
    endpoint: E

    def parameters(self, segments: Sequence[str], compared: Sequence[str]) -> dict[str, str] | None:
        taken = {}
        for pattern, segment, literal in zip(self.segments, segments, compared, strict=True):
            if pattern.startswith("{"):
                if not segment:
                    return None
                taken[pattern[1:-1]] = segment
            elif pattern != literal:
                return None
        return taken


class Router(Generic[E]):
    """A table of method, path template and endpoint. Templates with literal segments win over parameters.

    With `any_case` the literal segments match in any letter case; parameters are always taken as they came.
    """

    def __init__(self, *, any_case: bool = False) -> None:
        self._any_case = any_case
        self._by_length: dict[int, list[_Route[E]]] = {}

    def add(self, method: str, template: str, endpoint: E) -> None:
        """Add a route; the template looks like `/shipments/{reference}/allocate`."""
        segments = tuple(
            segment if segment.startswith("{") else self._comparable(segment) for segment in template.split("/")[1:]
        )
        routes = self._by_length.setdefault(len(segments), [])
        routes.append(_Route(method, template, segments, endpoint))
        routes.sort(key=lambda route: [segment.startswith("{") for segment in route.segments])

    def find(self, method: str, segments: Sequence[str]) -> Found[E] | None:
        """Where the request leads, or None if no template has this path."""
        wrong_method: Found[E] | None = None
        compared = [self._comparable(segment) for segment in segments] if self._any_case else segments
        for route in self._by_length.get(len(segments), ()):
            parameters = route.parameters(segments, compared)
            if parameters is None:
                continue
            if route.method == method:
                return Found(route.template, route.endpoint, parameters)
            wrong_method = wrong_method or Found(route.template, None, parameters)
        return wrong_method

    def _comparable(self, segment: str) -> str:
        return segment.lower() if self._any_case else segment

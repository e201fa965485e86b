"""The service groups of one source and one API, so that a code or a name is found at once."""

from __future__ import annotations

import difflib
from collections import defaultdict
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocation_gateway.groups.model import Group

_SUGGESTIONS: Final = 3
_SIMILARITY: Final = 0.6
# More spellings than this are not compared: it would keep other calls waiting.
_MOST_COMPARED: Final = 150


class Index:
    """An immutable set of service groups.

    Attributes:
        codes: The groups by code.
        names: The groups that go by a name.
        folded: The groups that go by a name, whatever its case.
    """

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self.codes: Mapping[str, Group] = {group.code: group for group in groups}
        names: dict[str, list[Group]] = defaultdict(list)
        folded: dict[str, list[Group]] = defaultdict(list)
        for group in self.codes.values():
            for name in set(group.names):
                names[name].append(group)
            for name in {name.casefold() for name in group.names}:
                folded[name].append(group)
        self.names: Mapping[str, list[Group]] = dict(names)
        self.folded: Mapping[str, list[Group]] = dict(folded)

    @cached_property
    def spellings(self) -> Mapping[str, Mapping[str, Group]]:
        """Every code and name in small letters with its group, by its first letter."""
        found: dict[str, dict[str, Group]] = defaultdict(dict)
        for group in self.codes.values():
            for text in (group.code, *group.names):
                spelling = text.casefold()
                found[spelling[:1]].setdefault(spelling, group)
        return found


EMPTY: Final = Index()


def suggestions(text: str, indices: Sequence[Index]) -> list[Group]:
    """Returns the groups with a code or a name that is spelt most like a text, the closest one first."""
    wanted = text.casefold()
    spellings = [part for index in indices for part in index.spellings.values()]
    if sum(map(len, spellings)) > _MOST_COMPARED:
        spellings = [index.spellings.get(wanted[:1], {}) for index in indices]
    compared = dict(islice((pair for part in spellings for pair in part.items()), _MOST_COMPARED))
    close = difflib.get_close_matches(wanted, compared, n=_SUGGESTIONS * 2, cutoff=_SIMILARITY)
    found = {(compared[spelling].api, compared[spelling].code): compared[spelling] for spelling in close}
    return list(found.values())[:_SUGGESTIONS]

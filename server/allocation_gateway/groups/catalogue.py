"""The catalogue file: which service groups there are, written by people.

It is taken as a whole or not at all: a file with one mistake changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway.groups.documents import (
    TOML_ENDINGS,
    YAML_ENDINGS,
    CatalogueProblem,
    NotADocumentError,
    dotted,
    read_toml,
    read_yaml,
)
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.validation import MAX_REFERENCE
from allocation_gateway.settings import ACCOUNT_NAME, DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from allocation_gateway.groups.documents import CatalogueDocument
    from allocation_gateway.groups.documents import Path as Key

# What a ConfigMap can hold.
MAX_BYTES: Final = 1_048_576
MAX_GROUPS: Final = 10_000
MAX_ALIASES: Final = 100
_GROUPS: Final = "service_groups"
_COMPLETE: Final = "complete"
_FIELDS: Final = frozenset({"code", "display_name", "aliases", "api", "account"})
_APIS: Final = {api.value: api for api in Api}


class CatalogueError(Exception):
    """The catalogue cannot be used.

    Attributes:
        problems: Everything that is wrong with it, the first one first.
    """

    LIMIT: Final = 5

    def __init__(self, problems: Sequence[CatalogueProblem]) -> None:
        more = f"; and {len(problems) - self.LIMIT} more" if len(problems) > self.LIMIT else ""
        super().__init__("; ".join(str(problem) for problem in problems[: self.LIMIT]) + more)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a catalogue says.

    Attributes:
        groups: The service groups, in its order, of all accounts.
        complete: The APIs of which it has every group, for the account that the settings are of.
        complete_elsewhere: The same for other accounts, with their names.
    """

    groups: tuple[Group, ...] = ()
    complete: frozenset[Api] = frozenset()
    complete_elsewhere: frozenset[tuple[str, Api]] = frozenset()

    def is_complete(self, account: str, api: Api) -> bool:
        """Returns whether it has every group of an API for an account."""
        return api in self.complete if account == DEFAULT_ACCOUNT else (account, api) in self.complete_elsewhere


def parse(file: Path, content: bytes, *, now: float) -> Catalogue:
    """Reads a catalogue.

    Args:
        file: Where it is from; the ending tells whether it is TOML or YAML.
        content: Its bytes.
        now: When it was read, in seconds of the epoch.

    Raises:
        CatalogueError: There is something wrong with it.
    """
    if len(content) > MAX_BYTES:
        raise CatalogueError([CatalogueProblem(0, "", f"is larger than {MAX_BYTES} bytes")])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CatalogueError([CatalogueProblem(line, "", "is not UTF-8")]) from None
    ending = file.suffix.lower()
    try:
        if ending in TOML_ENDINGS:
            document = read_toml(text)
        elif ending in YAML_ENDINGS:
            document = read_yaml(text)
        else:
            raise CatalogueError([CatalogueProblem(0, "", "must end in .toml, .yaml or .yml")])
    except NotADocumentError as error:
        raise CatalogueError([error.problem]) from None
    check = _Check(document, now)
    if check.problems:
        raise CatalogueError(sorted(check.problems))
    own = frozenset(api for account, api in check.complete if account == DEFAULT_ACCOUNT)
    others = frozenset(each for each in check.complete if each[0] != DEFAULT_ACCOUNT)
    return Catalogue(tuple(check.groups), own, others)


class _Check:
    """Goes through a document, and collects groups and problems.

    Attributes:
        problems: What is wrong.
        groups: The service groups.
        complete: The accounts and APIs of which it has every group.
    """

    def __init__(self, document: CatalogueDocument, now: float) -> None:
        self.problems: list[CatalogueProblem] = []
        self.groups: list[Group] = []
        self.complete: tuple[tuple[str, Api], ...] = ()
        self._line_of = document.line_of
        self._now = now
        self._seen: dict[tuple[str, Api, str], int] = {}
        root = document.content
        if not isinstance(root, dict):
            self._note((), "the file must hold `service_groups`")
            return
        for key in root.keys() - {_GROUPS, _COMPLETE}:
            self._note((key,), "there is no such key")
        self.complete = tuple(self._complete(root.get(_COMPLETE, [])))
        if _GROUPS not in root:
            self._note((_GROUPS,), "is missing")
            return
        self._groups(root[_GROUPS])

    def _note(self, path: Key, text: str) -> None:
        self.problems.append(CatalogueProblem(self._line_of(path), dotted(path), text))

    def _complete(self, value: object) -> Iterator[tuple[str, Api]]:
        if not isinstance(value, list):
            self._note((_COMPLETE,), "must be a list of APIs")
            return
        for index, item in enumerate(value):
            account, slash, api = item.rpartition("/") if isinstance(item, str) else ("", "", "")
            if api in _APIS and (ACCOUNT_NAME.fullmatch(account) or not slash):
                yield account or DEFAULT_ACCOUNT, _APIS[api]
            else:
                self._note(
                    (_COMPLETE, index), f"must be {_one_of(_APIS)}, or the name of an account, a slash and one of these"
                )

    def _groups(self, value: object) -> None:
        if not isinstance(value, list):
            self._note((_GROUPS,), "must be a list of service groups")
            return
        if len(value) > MAX_GROUPS:
            self._note((_GROUPS,), f"must have at most {MAX_GROUPS} service groups, not {len(value)}")
            return
        for index, item in enumerate(value):
            path: Key = (_GROUPS, index)
            if isinstance(item, dict):
                self._group(path, item)
            else:
                self._note(path, "must be a service group with `code` and `api`")

    def _group(self, path: Key, item: dict[str, Any]) -> None:
        found = len(self.problems)
        for key in item.keys() - _FIELDS:
            self._note((*path, key), "there is no such key")
        self._text((*path, "code"), item.get("code"))
        if item.get("code") in (".", ".."):
            self._note((*path, "code"), "must not be a dot segment")
        if item.get("api") not in tuple(_APIS):
            self._note((*path, "api"), f"must be {_one_of(_APIS)}")
        account = item.get("account", DEFAULT_ACCOUNT)
        if not isinstance(account, str) or not ACCOUNT_NAME.fullmatch(account):
            self._note((*path, "account"), "must be the name of an account")
        if "display_name" in item:
            self._text((*path, "display_name"), item["display_name"])
        self._aliases((*path, "aliases"), item.get("aliases", []))
        if len(self.problems) == found:
            self._add(path, item)

    def _aliases(self, path: Key, value: object) -> None:
        if not isinstance(value, list):
            self._note(path, "must be a list of names")
            return
        if len(value) > MAX_ALIASES:
            self._note(path, f"must have at most {MAX_ALIASES} names, not {len(value)}")
        for index, alias in enumerate(value):
            self._text((*path, index), alias)

    def _text(self, path: Key, value: object) -> None:
        if value is None:
            self._note(path, "is missing")
        elif not isinstance(value, str):
            self._note(path, "must be a text: put it into quotes")
        elif not 1 <= len(value) <= MAX_REFERENCE:
            self._note(path, f"must have 1 to {MAX_REFERENCE} characters, not {len(value)}")
        elif not _is_unicode(value):
            self._note(path, "must not contain an unpaired surrogate")

    def _add(self, path: Key, item: dict[str, Any]) -> None:
        api, code, account = _APIS[item["api"]], item["code"], item.get("account", DEFAULT_ACCOUNT)
        key = (account, api, code)
        if key in self._seen:
            self._note((*path, "code"), f"is given twice for {api.value}; first in line {self._seen[key]}")
            return
        self._seen[key] = self._line_of((*path, "code"))
        self.groups.append(
            Group(
                api=api,
                code=code,
                source=Source.CATALOGUE,
                learned_at=self._now,
                display_name=item.get("display_name", ""),
                aliases=tuple(item.get("aliases", [])),
                account=account,
            )
        )


def _is_unicode(text: str) -> bool:
    """Tells whether a text can be sent: escapes in YAML can make one that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _one_of(names: Iterable[str]) -> str:
    return " or ".join(names)

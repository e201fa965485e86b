"""What callers may do: the policy file, and what it grants to whom."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from allocation_gateway.callers.patterns import compiled
from allocation_gateway.callers.shares import Share
from allocation_gateway.settings import ACCOUNT_NAME, DEFAULT_ACCOUNT
from allocation_gateway.settings.types import Count, Limit, PerSecond  # noqa: TC001 - read at run time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from allocation_gateway.callers.model import Caller

MOST_BYTES: Final = 1_048_576
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# So many callers are remembered with what they are granted.
_MOST: Final = 4096


class PolicyError(Exception):
    """A policy cannot be used. The text says everything that is wrong with it, in one line."""


class _Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as it stands in the file."""

    name: str
    callers: Annotated[list[str], msgspec.Meta(min_length=1)]
    rpcs: Annotated[list[str], msgspec.Meta(min_length=1)]
    accounts: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    service_groups: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    rate_limit: PerSecond = 0.0
    rate_burst: Count = 10
    calls_in_hand: Limit = 0


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy file."""

    rules: Annotated[list[_Rule], msgspec.Meta(min_length=1)]


class Grant(NamedTuple):
    """What a rule grants to the callers that it is for.

    Attributes:
        rule: The name of the rule.
        rpcs: The names of the rpcs that they may call.
        accounts: The names of the accounts that they may call them for.
        service_groups: The codes of the service groups that they may allocate with; None for any allocation.
        share: How much of the gateway they may use, all of them together.
    """

    rule: str
    rpcs: frozenset[str]
    accounts: frozenset[str]
    service_groups: frozenset[str] | None
    share: Share


class Policy:
    """The rules of a file. The first one that is for a caller says what it may do."""

    def __init__(self, rules: Iterable[tuple[Collection[re.Pattern[str]], Grant]]) -> None:
        self._rules = tuple(rules)
        self._known: dict[Caller, Grant | None] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def grant(self, caller: Caller) -> Grant | None:
        """Returns what a caller is granted; None if no rule is for it."""
        known = self._known
        if caller not in known:
            if len(known) >= _MOST:
                del known[next(iter(known))]
            known[caller] = self._find(caller)
        return known[caller]

    def _find(self, caller: Caller) -> Grant | None:
        for patterns, grant in self._rules:
            if any(pattern.fullmatch(name) for pattern in patterns for name in caller.names):
                return grant
        return None

    def shares(self) -> Mapping[str, Share]:
        """Returns the shares of all rules, by the names of the rules."""
        return {grant.rule: grant.share for _, grant in self._rules}


def parse(content: bytes, groups: Mapping[str, Collection[str]], former: Policy | None = None) -> Policy:
    """Reads a policy file.

    Args:
        content: What is in it: TOML.
        groups: The names of the rpcs that there are, by the names of their groups.
        former: The policy that it follows. Where a rule has the limits that it had there, its calls go on counting.

    Raises:
        PolicyError: It cannot be used.
    """
    if len(content) > MOST_BYTES:
        raise PolicyError(f"is larger than {MOST_BYTES} bytes")
    try:
        document = msgspec.convert(tomllib.loads(content.decode()), _Document)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"is not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise PolicyError(str(error)) from None
    problems = list(_problems(document, groups))
    if problems:
        raise PolicyError("; ".join(problems))
    shares = {} if former is None else former.shares()
    return Policy(
        ([compiled(pattern) for pattern in rule.callers], _grant(rule, groups, shares.get(rule.name)))
        for rule in document.rules
    )


def _problems(document: _Document, groups: Mapping[str, Collection[str]]) -> Iterator[str]:
    known = set(groups).union(*groups.values())
    names: set[str] = set()
    for number, rule in enumerate(document.rules, 1):
        where = f"rule {number}"
        if not _NAME.fullmatch(rule.name):
            yield f"{where}: name must be up to 64 letters, digits, and any of _.-"
        elif rule.name in names:
            yield f"{where}: there is another rule named {rule.name}"
        names.add(rule.name)
        for pattern in rule.callers:
            try:
                compiled(pattern)
            except ValueError as error:
                yield f"{where}: the caller {pattern!r} {error}"
        yield from (f"{where}: there is no rpc or group of rpcs {rpc!r}" for rpc in rule.rpcs if rpc not in known)
        for account in rule.accounts or ():
            if not ACCOUNT_NAME.fullmatch(account):
                yield f"{where}: {account!r} is not the name of an account"


def _grant(rule: _Rule, groups: Mapping[str, Collection[str]], former: Share | None) -> Grant:
    limits = (rule.rate_limit, rule.rate_burst, rule.calls_in_hand)
    rpcs: set[str] = set()
    for rpc in rule.rpcs:
        rpcs.update(groups.get(rpc, (rpc,)))
    return Grant(
        rule.name,
        frozenset(rpcs),
        # Whoever wrote a rule without accounts has meant the only one that there was.
        frozenset((DEFAULT_ACCOUNT,) if rule.accounts is None else rule.accounts),
        None if rule.service_groups is None else frozenset(rule.service_groups),
        former if former is not None and former.limits == limits else Share(*limits),
    )

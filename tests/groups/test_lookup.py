"""What a text stands for, from all sources together, in memory and under a clock that stands still."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.errors import GatewayError, WriteEffect
from allocation_gateway.groups.catalogue import Catalogue
from allocation_gateway.groups.directory import Options
from allocation_gateway.groups.listing import Listings, NotOfferedError
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.groups.service_groups import ServiceGroups
from allocation_gateway.groups.shared_entries import VERSION, ObservedCode
from allocation_gateway.operations.model import Api
from allocation_gateway.telemetry.telemetry import Telemetry
from google.rpc import error_details_pb2

if TYPE_CHECKING:
    from types import ModuleType

    from support.clock import Clock

ROOT: Final = Path(__file__).resolve().parents[2]
SHIP, CONSIGNMENTS = Api.SHIP, Api.CONSIGNMENTS
NONE: Final = WriteEffect.NONE
SECONDS: Final = 10.0


class Scripted(Listings):
    """Upstream's lists as a test dictates them: names by code, or an error."""

    def __init__(self) -> None:
        super().__init__({}, Telemetry())
        self.offered = False
        self.groups: dict[str, str] = {}
        self.broken = False
        self.held: asyncio.Event | None = None
        self.loads = 0
        self.now = 0.0

    def offers(self, api: Api) -> bool:
        return self.offered and api is CONSIGNMENTS

    async def load(self, api: Api) -> tuple[Group, ...]:
        self.loads += 1
        if self.held is not None:
            await self.held.wait()
        if self.broken:
            raise RuntimeError("broken")
        if not self.offered:
            raise NotOfferedError
        return tuple(
            Group(api, code, Source.LISTING, self.now, display_name=name) for code, name in self.groups.items()
        )


@pytest.fixture
def listings() -> Scripted:
    """Lists that are not offered, until a test says so."""
    return Scripted()


def directory(
    listings: Scripted, clock: Clock, *, strict: bool = False, configured: tuple[str, ...] = ()
) -> ServiceGroups:
    options = Options(configured=configured, strict=strict, ttl=100.0, stale=50.0, size=3)
    return ServiceGroups(options, listings=listings, telemetry=Telemetry(), clock=clock)


def written(code: str, name: str = "", *aliases: str, api: Api = SHIP) -> Group:
    return Group(api, code, Source.CATALOGUE, 0.0, None, name, aliases)


def catalogue(*groups: Group, complete: frozenset[Api] = frozenset()) -> Catalogue:
    return Catalogue(groups, complete)


async def resolve(groups: ServiceGroups, text: str, api: Api = CONSIGNMENTS) -> str:
    """Does what the handler does."""
    code = groups.resolver.lookup(api, text, NONE)
    return await groups.resolver.resolve(api, text, NONE, SECONDS) if code is None else code


def refused(groups: ServiceGroups, text: str, api: Api = SHIP) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        groups.resolver.lookup(api, text, NONE)
    assert caught.value.effect is NONE
    return caught.value


WRITTEN: Final = (
    written("dangerousGoods", "Dangerous goods", "hazmat", "X"),
    written("X", "The group whose code is another's alias"),
    written("upper", "FRAGILE"),
    written("lower", "fragile"),
    written("one", "Twin"),
    written("two", "Twin"),
    written("other", "Dangerous goods", api=CONSIGNMENTS),
)
# What is written, and what it stands for.
MEANINGS: Final = {
    "an exact code": ("dangerousGoods", "dangerousGoods"),
    "a name": ("Dangerous goods", "dangerousGoods"),
    "an alias": ("hazmat", "dangerousGoods"),
    "a name in another case": ("DANGEROUS GOODS", "dangerousGoods"),
    "an alias in another case": ("HazMat", "dangerousGoods"),
    "a code that is another's alias too": ("X", "X"),
    "an exact name that is another's in another case": ("FRAGILE", "upper"),
    "the other exact name": ("fragile", "lower"),
    "a code in another case": ("DANGEROUSGOODS", "DANGEROUSGOODS"),
    "a code with a space": ("dangerousGoods ", "dangerousGoods "),
    "nothing known": ("Größe / 50% & mehr", "Größe / 50% & mehr"),
}


@pytest.mark.parametrize(("text", "code"), MEANINGS.values(), ids=MEANINGS.keys())
def test_a_text_stands_for_a_code_and_a_code_is_never_altered(
    text: str, code: str, listings: Scripted, clock: Clock
) -> None:
    groups = directory(listings, clock)
    groups.directory.use(catalogue(*WRITTEN))
    assert groups.resolver.lookup(SHIP, text, NONE) == code


@pytest.mark.parametrize(
    ("text", "codes"), [("Twin", ["one", "two"]), ("TWIN", ["one", "two"]), ("Fragile", ["lower", "upper"])]
)
def test_an_ambiguous_name_is_refused_with_its_candidates(
    text: str, codes: list[str], listings: Scripted, clock: Clock
) -> None:
    groups = directory(listings, clock)
    groups.directory.use(catalogue(*WRITTEN))
    error = refused(groups, text)
    assert (error.code.name, error.reason_name) == ("INVALID_ARGUMENT", "SERVICE_GROUP_AMBIGUOUS")
    (detail,) = error.details
    assert isinstance(detail, error_details_pb2.BadRequest)
    assert {violation.field for violation in detail.field_violations} == {"service_group"}
    assert [violation.description.split('"')[1] for violation in detail.field_violations] == codes


def test_codes_of_the_setting_exist_with_every_api(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock, configured=("hazmat",))
    groups.directory.use(catalogue(*WRITTEN))
    assert groups.resolver.lookup(SHIP, "hazmat", NONE) == "hazmat", "a code wins over an alias"
    assert [group.code for group in groups.directory.known([CONSIGNMENTS])] == ["other", "hazmat"]


def test_a_new_catalogue_replaces_the_one_before(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock)
    groups.directory.use(catalogue(written("old", "name")))
    groups.directory.use(catalogue(written("new", "name")))
    assert groups.resolver.lookup(SHIP, "name", NONE) == "new"
    assert [group.code for group in groups.directory.known([SHIP])] == ["new"]


def test_strict_refuses_what_a_complete_catalogue_does_not_have_and_suggests(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock, strict=True)
    groups.directory.use(catalogue(*WRITTEN, complete=frozenset({SHIP})))
    error = refused(groups, "dangerous-good")
    assert (error.code.name, error.reason_name) == ("NOT_FOUND", "SERVICE_GROUP_NOT_FOUND")
    assert error.message.endswith('Did you mean "dangerousGoods" (Dangerous goods)?')
    (detail,) = error.details
    assert isinstance(detail, error_details_pb2.ResourceInfo)
    assert detail.resource_name == "dangerous-good"
    assert "Did you mean" not in refused(groups, "zzz").message
    assert groups.resolver.lookup(SHIP, "hazmat", NONE) == "dangerousGoods"
    assert groups.resolver.lookup(CONSIGNMENTS, "zzz", NONE) == "zzz", "of that API the catalogue is not complete"


def test_strict_passes_everything_on_where_nothing_is_complete(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock, strict=True)
    groups.directory.use(catalogue(*WRITTEN))
    assert groups.resolver.lookup(SHIP, "zzz", NONE) == "zzz"


def test_learn_passes_on_what_even_a_complete_catalogue_does_not_have(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock)
    groups.directory.use(catalogue(*WRITTEN, complete=frozenset({SHIP})))
    assert groups.resolver.lookup(SHIP, "zzz", NONE) == "zzz"


def test_what_worked_is_known_for_its_time_and_in_its_api(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock)
    groups.directory.use(catalogue(written("dangerousGoods", "seen")))
    groups.directory.observe(SHIP, "seen")
    assert groups.resolver.lookup(SHIP, "seen", NONE) == "seen", "a code that was seen to work wins over a name"
    (group,) = [group for group in groups.directory.known([SHIP]) if group.code == "seen"]
    assert (group.source, group.learned_at) == (Source.OBSERVED, clock.now)
    assert group.trusted_until is not None
    assert clock.now + 90 <= group.trusted_until <= clock.now + 100
    assert not list(groups.directory.known([CONSIGNMENTS]))
    clock.advance(100)
    assert groups.resolver.lookup(SHIP, "seen", NONE) == "dangerousGoods"


def test_what_is_in_the_catalogue_need_not_be_observed(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock)
    groups.directory.use(catalogue(written("a")))
    groups.directory.observe(SHIP, "a")
    assert [group.source for group in groups.directory.known([SHIP])] == [Source.CATALOGUE]


def test_the_memory_of_what_worked_is_bounded(listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock)
    for number in range(10):
        groups.directory.observe(SHIP, f"code-{number}")
    assert [group.code for group in groups.directory.known([SHIP])] == ["code-7", "code-8", "code-9"]


@pytest.mark.asyncio
async def test_a_listed_name_is_waited_for_once_and_then_found_without_waiting(
    listings: Scripted, clock: Clock
) -> None:
    listings.offered, listings.groups, listings.now = True, {"SGREF01": "Service Group 1"}, clock.now
    groups = directory(listings, clock)
    assert groups.resolver.lookup(CONSIGNMENTS, "service group 1", NONE) is None
    assert await resolve(groups, "service group 1") == "SGREF01"
    assert groups.resolver.lookup(CONSIGNMENTS, "Service Group 1", NONE) == "SGREF01"
    assert groups.resolver.lookup(CONSIGNMENTS, "SGREF01", NONE) == "SGREF01"
    assert groups.resolver.lookup(CONSIGNMENTS, "anything else", NONE) == "anything else"
    assert listings.loads == 1


@pytest.mark.asyncio
async def test_a_code_of_the_list_wins_over_a_name_of_the_catalogue(listings: Scripted, clock: Clock) -> None:
    listings.offered, listings.groups = True, {"SGREF01": ""}
    groups = directory(listings, clock)
    groups.directory.use(catalogue(written("other", "SGREF01", api=CONSIGNMENTS)))
    assert await resolve(groups, "SGREF01") == "SGREF01"


@pytest.mark.asyncio
async def test_a_code_of_the_catalogue_does_not_wait_for_the_list(listings: Scripted, clock: Clock) -> None:
    listings.offered = True
    groups = directory(listings, clock)
    groups.directory.use(catalogue(written("a", api=CONSIGNMENTS)))
    assert groups.resolver.lookup(CONSIGNMENTS, "a", NONE) == "a"
    assert listings.loads == 0


@pytest.mark.asyncio
async def test_the_catalogue_and_the_list_can_name_two_groups_alike(listings: Scripted, clock: Clock) -> None:
    listings.offered, listings.groups = True, {"listed": "Name"}
    groups = directory(listings, clock)
    groups.directory.use(
        catalogue(written("written", "Name", api=CONSIGNMENTS), written("listed", "Listed", api=CONSIGNMENTS))
    )
    with pytest.raises(GatewayError) as caught:
        await resolve(groups, "Name")
    assert caught.value.reason_name == "SERVICE_GROUP_AMBIGUOUS"
    assert [group.source for group in groups.directory.known([CONSIGNMENTS])] == [Source.CATALOGUE] * 2


@pytest.mark.asyncio
async def test_only_a_list_that_is_up_to_date_can_say_unknown(listings: Scripted, clock: Clock) -> None:
    listings.offered, listings.groups = True, {"a": ""}
    groups = directory(listings, clock, strict=True)
    with pytest.raises(GatewayError) as caught:
        await resolve(groups, "zzz")
    assert caught.value.reason_name == "SERVICE_GROUP_NOT_FOUND"
    clock.advance(101)
    listings.broken = True
    assert await resolve(groups, "zzz") == "zzz"
    assert groups.resolver.lookup(CONSIGNMENTS, "a", NONE) == "a"


@pytest.mark.asyncio
async def test_a_list_that_cannot_be_read_keeps_no_call_waiting_again(listings: Scripted, clock: Clock) -> None:
    listings.offered = listings.broken = True
    groups = directory(listings, clock, strict=True)
    assert await resolve(groups, "a") == "a"
    for _ in range(10):
        assert groups.resolver.lookup(CONSIGNMENTS, "a", NONE) == "a"
    assert listings.loads == 1


@pytest.mark.asyncio
async def test_a_list_that_does_not_come_is_waited_for_half_the_time_that_there_is(
    listings: Scripted, clock: Clock
) -> None:
    listings.offered, listings.held = True, asyncio.Event()
    groups = directory(listings, clock)
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await groups.resolver.resolve(CONSIGNMENTS, "a", NONE, 0.2) == "a"
    assert 0.09 <= loop.time() - started < 5
    await groups.close()


@pytest.mark.asyncio
async def test_refreshing_forgets_and_reads_anew(listings: Scripted, clock: Clock) -> None:
    listings.offered, listings.groups, listings.now = True, {"old": ""}, clock.now
    groups = directory(listings, clock)
    await resolve(groups, "old")
    groups.directory.observe(SHIP, "seen")
    clock.advance(1)
    listings.groups = {"new": ""}
    assert await groups.refresh([CONSIGNMENTS], SECONDS) == 1
    assert [group.code for group in groups.directory.known(Api)] == ["seen", "new"]
    assert await groups.refresh(Api, SECONDS) == 1
    assert [group.code for group in groups.directory.known(Api)] == ["new"]


def test_what_another_replica_learned_is_known_unless_it_is_older_than_what_was_forgotten(
    listings: Scripted, clock: Clock
) -> None:
    groups = directory(listings, clock)
    groups.directory.observed_elsewhere(SHIP, ObservedCode(VERSION, "a", clock.now - 10, clock.now + 10))
    groups.directory.observed_elsewhere(SHIP, ObservedCode(VERSION, "expired", clock.now - 10, clock.now))
    groups.directory.observed_elsewhere(SHIP, ObservedCode(VERSION, "future", clock.now + 3600, clock.now + 7200))
    assert [group.code for group in groups.directory.known([SHIP])] == ["a"]
    groups.directory.forgotten_elsewhere(SHIP, clock.now + 3600)
    assert [group.code for group in groups.directory.known([SHIP])] == ["a"], "a moment in the future is a mistake"
    groups.directory.forgotten_elsewhere(SHIP, clock.now - 5)
    groups.directory.observed_elsewhere(SHIP, ObservedCode(VERSION, "a", clock.now - 10, clock.now + 10))
    assert not list(groups.directory.known([SHIP]))
    groups.directory.observed_elsewhere(SHIP, ObservedCode(VERSION, "a", clock.now - 4, clock.now + 1e9))
    (group,) = groups.directory.known([SHIP])
    assert group.trusted_until == clock.now + 100, "nothing is trusted for longer than the time to live"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2, 1, 0)])
def test_the_order_of_news_does_not_matter(order: tuple[int, ...], listings: Scripted, clock: Clock) -> None:
    groups = directory(listings, clock)
    news = (
        lambda: groups.directory.observed_elsewhere(
            SHIP, ObservedCode(VERSION, "before", clock.now - 9, clock.now + 9)
        ),
        lambda: groups.directory.forgotten_elsewhere(SHIP, clock.now - 8),
        lambda: groups.directory.observed_elsewhere(SHIP, ObservedCode(VERSION, "after", clock.now - 7, clock.now + 9)),
    )
    for number in order:
        news[number]()
    assert [group.code for group in groups.directory.known([SHIP])] == ["after"]


@pytest.fixture
def bench() -> ModuleType:
    """The program that shows what a lookup costs."""
    spec = importlib.util.spec_from_file_location("bench_groups", ROOT / "bench" / "groups.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.asyncio
async def test_a_lookup_in_memory_costs_microseconds(bench: ModuleType) -> None:
    """With ten thousand groups. The bound is a generous multiple of what bench/groups.py shows."""
    groups = bench.directory()
    for text in bench.LOOKUPS.values():
        assert bench.microseconds(groups, text, 5_000) < 50

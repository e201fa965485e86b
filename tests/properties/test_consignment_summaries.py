"""Which consignment an answer is about: whatever is left out of it, none is ever given what is another one's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation_gateway.codecs.consignment_bulk import allocations
from allocation_gateway.codecs.consignment_summaries import _path, summaries
from allocation_gateway.codecs.findings import Findings
from hypothesis import example, given, settings
from hypothesis import strategies as st

HOSTS: Final = ("https://api.electioapp.com", "http://127.0.0.1:8080/a/Consignments", "HTTPS://X", "")
SEGMENTS: Final = ("consignments", "Consignments", "CONSIGNMENTS")
_GROUP: Final = st.text("AB0", min_size=3, max_size=3)
# Few of them, so that they meet; references as documented, and others that a customer might have.
DOCUMENTED: Final = st.builds(lambda end: f"EC-000-000-{end}", _GROUP)
REFERENCES: Final = st.one_of(
    DOCUMENTED,
    DOCUMENTED,
    st.sampled_from(["a/b", "a b", "a+b", "ö", "100%", "UPS", "x.", "(x)", "x", "consignments", "labels", "package"]),
    st.text(min_size=1, max_size=6).filter(lambda text: text.strip() == text),
)


@dataclass(frozen=True)
class Item:
    """An item of an answer.

    Attributes:
        owner: The consignment that it is about.
        names: Whether it says so; None if it can be understood so or not.
        document: The item as JSON.
    """

    owner: str
    names: bool | None
    document: dict[str, Any]


@st.composite
def items(draw: st.DrawFn, owners: st.SearchStrategy[str]) -> Item:
    """Items in either shape, with their links and descriptions or without them. Those of one owner agree."""
    owner = draw(owners)
    ways = draw(st.sets(st.sampled_from(["detail", "label", "description", "data"])))
    description = f"Consignment {owner} has been successfully allocated with UPS STANDARD for shipping on 18/06/2019"
    link = f"{draw(st.sampled_from(HOSTS))}/{{}}/{quote(owner, safe=draw(st.sampled_from(['', '+'])))}"
    link += draw(st.sampled_from(["", "/", "?a=b"]))
    links = []
    if "detail" in ways:
        links.append(
            {"Rel": draw(st.sampled_from(["detail", "Detail"])), "Href": link.format(draw(st.sampled_from(SEGMENTS)))}
        )
    if "label" in ways:
        links.insert(draw(st.integers(0, len(links))), {"Rel": "label", "Href": link.format("labels")})
    text = (
        description if "description" in ways else draw(st.sampled_from(["", "Done.", "Consignment has been allocated"]))
    )
    document: dict[str, Any] = {
        "ApiLinks": links or draw(st.sampled_from([None, []])),
        "CarrierServiceReference": owner,
    }
    if "data" in ways or draw(st.booleans()):
        document |= {"IsSuccess": True, "Message": text, "Data": owner if "data" in ways else None}
    else:
        document |= {"StatusCode": 200, "Description": text}
    unclear = set()
    if owner == "package":
        unclear.add("label")  # the address of a package's label
    if any(letter.isspace() for letter in owner):
        unclear.add("description")  # it is found only if it was asked for
    return Item(owner, bool(ways - unclear) or (None if ways else False), document)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], list[Item]]:
    """What was asked for, and an answer: any of it, in any order, any number of times, and about others too."""
    requested = draw(st.lists(REFERENCES, min_size=1, max_size=6, unique_by=str.casefold))
    # A plus sign in a link may stand for a space: nobody can tell `a+b` from `a b` there.
    spaced = {reference.casefold() for reference in requested if " " in reference}
    others = REFERENCES.filter(lambda name: name.replace("+", " ").casefold() not in spaced or name in requested)
    owners = st.sampled_from(requested) | st.sampled_from(requested) | others
    in_order = draw(st.booleans())
    if in_order:
        return requested, [draw(items(st.just(reference))) for reference in requested]
    return requested, draw(st.lists(items(owners), max_size=8))


def same_consignment(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


@given(case=answers())
@settings(max_examples=800)
@example((["x", "y"], [Item("y", True, {"StatusCode": 200, "Data": "y", "CarrierServiceReference": "y"})] * 2))
def test_no_consignment_is_given_what_another_one_is_named_in(case: tuple[list[str], list[Item]]) -> None:
    """And each one that is named by answers that agree is given its own."""
    requested, answer = case
    body = [{**item.document, "CarrierReference": str(place)} for place, item in enumerate(answer)]

    found = summaries(body, requested, Findings())

    assert set(found) <= set(requested)
    for reference, summary in found.items():
        if summary.done is None:
            continue
        assert summary.allocation is not None
        place = int(summary.allocation["carrier_reference"])
        if answer[place].names:
            assert same_consignment(answer[place].owner, reference), "given to another one"
        elif answer[place].names is False or not same_consignment(answer[place].owner, reference):
            assert len(answer) == len(requested), "given by its place, among more or fewer"
            assert requested[place] == reference
    named = [item for item in answer if item.names]
    for reference in requested:
        own = [item for item in named if same_consignment(item.owner, reference)]
        if own and len(answer) != len(requested) and len({item.owner for item in own}) == 1:
            assert found[reference].done is True


@given(
    case=answers(), as_object=st.booleans(), junk=st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=2)
)
@settings(max_examples=300)
def test_each_consignment_is_there_once_in_its_place(
    case: tuple[list[str], list[Item]], as_object: bool, junk: list[Any]
) -> None:
    """Whatever the answer holds, as an array or as one object."""
    requested, answer = case
    body: Any = [*(item.document for item in answer), *junk]
    if as_object and answer:
        body = body[0]
    request = pb.AllocateConsignmentsRequest(consignments=requested)
    findings = Findings()

    got: Any = allocations(pb.AllocateConsignmentsResponse)(request, body, findings)

    if findings.broken:
        assert isinstance(body, dict), "an array is never lost as a whole"
        return
    assert [item.consignment_reference for item in got.results] == requested
    for item in got.results:
        assert item.allocation.consignment_reference in {"", item.consignment_reference}


@given(requested=st.lists(DOCUMENTED, min_size=1, max_size=6, unique=True), data=st.data())
def test_what_names_nothing_goes_by_its_place_only_if_the_counts_match(
    requested: list[str], data: st.DataObject
) -> None:
    """And by nothing if they do not."""
    count = data.draw(st.integers(0, 8))
    body = [{"StatusCode": 200, "CarrierServiceReference": str(number)} for number in range(count)]

    found = summaries(body, requested, Findings())

    by_place = {reference: str(number) for number, reference in enumerate(requested)}
    assert {name: summary.carrier_service for name, summary in found.items()} == (
        by_place if count == len(requested) else {}
    )


ADDRESSES: Final = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["http", "https", "://", "//", "/", ":", "@", "[", "]", "?", "#", "a", "1", ".", " ", "%", "\t", "ö"]
        )
    ).map("".join),
    st.text().map("https://api.electioapp.com/{}".format),
)


@given(ADDRESSES)
@example("https://[/consignments/a")
@example("https://a/b\n/c")
@example("https://a:b@c/d")
def test_the_path_of_an_address_is_what_the_standard_library_says(address: str) -> None:
    """However it is found. One that is no address has none."""
    try:
        path = urlsplit(address).path
    except ValueError:
        path = ""

    assert _path(address) == path

"""What the Consignments API says of allocations: the shapes of its answers, and which consignment they are about."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1 import consignment_allocation_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from allocation_gateway.codecs.consignment_summaries import summaries
from allocation_gateway.codecs.findings import Findings
from mapping.consignments import (
    BULKS,
    CONSIGNMENTS,
    GOLDEN,
    QUOTED,
    REQUESTS,
    SINGLES,
    answer,
    call,
    call_for_others,
    check,
    consignment,
    expected,
    lines,
    message,
    refused,
    response,
    summary,
)
from mapping.table import changed, same
from support.doubt import in_doubt
from support.upstream import Reply

if TYPE_CHECKING:
    from allocation.v1.consignment_allocation_service_pb2_grpc import ConsignmentAllocationServiceStub as Stub
    from support.upstream import Upstream

A, B, C = CONSIGNMENTS
DONE, REJECTED, UNKNOWN = pb.OUTCOME_DONE, pb.OUTCOME_REJECTED, pb.OUTCOME_UNKNOWN
HOSTS: Final = "https://api.electioapp.com"
# For answers that have neither links nor a description that names a consignment.
ANONYMOUS: Final[dict[str, Any]] = {"ApiLinks": [], "Description": "Consignment has been successfully allocated."}


def links(*hrefs: str, rel: str = "detail") -> dict[str, Any]:
    """Returns an answer's links, with a description that says nothing."""
    return {**ANONYMOUS, "ApiLinks": [{"Rel": rel, "Href": href} for href in hrefs]}


def bulk(stub: Stub, upstream: Upstream, body: object, rpc: str = "AllocateConsignments", status: int = 200) -> Any:
    """Makes the golden bulk call, and returns the results after checking that each reference is there in its place."""
    results = list(call_for_others(stub, upstream, rpc, status, body).results)
    assert [item.consignment_reference for item in results] == list(REQUESTS[rpc].consignments)  # type: ignore[attr-defined]
    return results


def services(results: list[pb.ConsignmentResult]) -> list[str]:
    """Returns the service that each result was allocated to; a word if it was not."""
    for item in results:
        assert item.HasField("allocation") == (item.outcome == DONE)
        assert (item.reason != ErrorReason.ERROR_REASON_UNSPECIFIED) == (item.outcome == REJECTED)
        if item.outcome == DONE:
            assert item.allocation.consignment_reference == item.consignment_reference
    return [
        item.allocation.carrier_service_reference
        if item.outcome == DONE
        else pb.Outcome.Name(item.outcome).removeprefix("OUTCOME_").lower()
        for item in results
    ]


def of(*references: str) -> list[str]:
    """Returns the services that summaries() gives consignments."""
    return [f"service of {reference}" if reference.startswith("EC") else reference for reference in references]


# Shapes of the answer to one consignment


@pytest.mark.parametrize("rpc", sorted(set(REQUESTS) - {"DeallocateConsignment"}))
@pytest.mark.parametrize("status", [200, 201, 202, 207])
def test_every_documented_success_means_the_same(
    consignments_stub: Stub, upstream: Upstream, rpc: str, status: int
) -> None:
    """The sources disagree on which success is which, so the body decides. A de-allocation has none; it is below."""
    upstream.answer(status, answer(GOLDEN[rpc]))

    check(consignments_stub, rpc, expected(GOLDEN[rpc]))


@pytest.mark.parametrize("rpc", SINGLES)
def test_the_answer_to_one_consignment_may_be_a_bare_object(
    consignments_stub: Stub, upstream: Upstream, rpc: str
) -> None:
    """Every published sample is an array of one; one client in production declares an object."""
    upstream.answer(200, json.loads(answer("allocated"))[0])

    check(consignments_stub, rpc, expected("allocated"))
    assert len(lines(upstream)) == 1


@pytest.mark.parametrize("as_array", [True, False])
def test_the_answer_to_one_consignment_may_be_a_with_message(
    consignments_stub: Stub, upstream: Upstream, as_array: bool
) -> None:
    """It says that the consignment is allocated, and names no carrier service: that is read, once."""
    body = message(QUOTED, text="Consignment allocated")
    upstream.answer(200, [body] if as_array else body)
    allocation = {"MpdCarrierServiceReference": "S", "AllocationDate": datetime.now(UTC).isoformat()}
    upstream.answer(200, consignment(QUOTED, "Allocated", Allocation=allocation))

    got = call(consignments_stub, REQUESTS["AllocateConsignment"]).allocation

    assert (got.carrier_service_reference, got.state_text, got.reconciled) == ("S", "Allocated", False)
    assert got.description == body["Message"]


@pytest.mark.parametrize("reading", [(503, None), (200, consignment(QUOTED, "Allocating"))], ids=["503", "Allocating"])
def test_a_with_message_is_an_answer_whatever_a_reading_gives(
    consignments_stub: Stub, upstream: Upstream, reading: tuple[int, object]
) -> None:
    """Upstream has said that the consignment is allocated: what cannot be read is left out."""
    body = message(QUOTED, text="Consignment allocated")
    upstream.answer(200, body)
    upstream.answer(*reading)

    got = call(consignments_stub, REQUESTS["AllocateConsignment"]).allocation

    assert (got.consignment_reference, got.description) == (QUOTED, body["Message"])
    assert not got.carrier_service_reference


def test_both_shapes_may_be_mixed_in_one_answer(consignments_stub: Stub, upstream: Upstream) -> None:
    """The version header does not provably decide on the shape."""
    results = bulk(consignments_stub, upstream, [message(B, text="Done."), summary(A), message(C, success=False)])

    assert services(results) == [*of(A), "", "rejected"]
    assert results[1].description == results[1].allocation.description == "Done."


def test_the_leg_of_the_first_version_has_one_tracking_reference(consignments_stub: Stub, upstream: Upstream) -> None:
    """Where later ones have a list; a list wins, and nulls are nothing."""
    legs = [
        {"Leg": 2, "TrackingReference": "T2", "CarrierReference": "C", "CarrierName": "Carrier"},
        {"Leg": 1, "TrackingReferences": ["T0", "T1"], "TrackingReference": "T2", "CarrierServiceReference": "S"},
        {"Leg": None, "TrackingReferences": None, "TrackingReference": None, "CarrierName": None},
    ]
    upstream.answer(200, [summary(QUOTED, ApiLinks=[], Description="", ConsignmentLegs=legs)])

    check(
        consignments_stub,
        "AllocateConsignment",
        f"""
        allocation {{
          consignment_reference: "{QUOTED}"
          carrier_reference: "CARRIER_X"
          carrier_name: "Carrier X"
          carrier_service_reference: "service of {QUOTED}"
          carrier_service_name: "Next Day Super"
          legs {{ leg: 2 tracking_references: "T2" carrier_reference: "C" carrier_name: "Carrier" }}
          legs {{ leg: 1 tracking_references: "T0" tracking_references: "T1" carrier_service_reference: "S" }}
          legs {{}}
        }}
        """,
    )


@pytest.mark.parametrize("gone", ["null", "omitted"])
def test_what_an_answer_does_not_say_is_unset(consignments_stub: Stub, upstream: Upstream, gone: str) -> None:
    """Null says the same as nothing."""
    optional = ("ApiLinks", "Description", "ConsignmentLegs", "CarrierReference", "CarrierName", "CarrierServiceName")
    changes = dict.fromkeys(optional, None if gone == "null" else ...)
    upstream.answer(200, [summary(QUOTED, **changes)])

    check(
        consignments_stub,
        "AllocateConsignment",
        f'allocation {{ consignment_reference: "{QUOTED}" carrier_service_reference: "service of {QUOTED}" }}',
    )


def _grown(node: object) -> object:
    """Returns a JSON document with fields at every level that no documentation knows."""
    if isinstance(node, dict):
        news = {"XNew": {"Deep": [1.5, None, {}]}, "isSuccess": False, "statusCode": 500, "": 0}
        return {**news, **{key: _grown(value) for key, value in node.items()}}
    return [_grown(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("rpc", sorted(set(REQUESTS) - {"DeallocateConsignment"}))
def test_fields_that_nobody_knows_are_passed_over(consignments_stub: Stub, upstream: Upstream, rpc: str) -> None:
    """Upstream adds fields without notice, at any level; names in another case are other names."""
    upstream.answer(200, _grown(json.loads(answer(GOLDEN[rpc]))))

    wanted = expected(GOLDEN[rpc])
    if rpc == "GetConsignmentQuotes":
        wanted = wanted.replace('value: "2.69000"', 'value: "2.69"').replace('value: "0.2000"', 'value: "0.2"')
    if rpc == "GetConsignmentAllocation":
        wanted = wanted.replace('value: "0.2000"', 'value: "0.2"')
    check(consignments_stub, rpc, wanted)


NO_ANSWERS: Final[list[tuple[object, str]]] = [
    ([], "does not say what became of the consignment"),
    ({}, "does not say what became of the consignment"),
    ([{}], "does not say what became of the consignment"),
    ("Done.", "does not say what became of the consignment"),
    (17, "does not say what became of the consignment"),
    ([None], "does not say what became of the consignment"),
    ([summary("EC-000-999-999")], "does not say what became of the consignment"),
    ([summary(QUOTED), summary(QUOTED, StatusCode=400)], "does not say what became of the consignment"),
    ([summary(QUOTED, StatusCode=500)], "does not say what became of the consignment"),
    ([summary(QUOTED, StatusCode=302)], "does not say what became of the consignment"),
    ([message(QUOTED, IsSuccess=None)], "does not say what became of the consignment"),
]


def test_an_answer_that_does_not_speak_of_the_consignment_is_no_answer(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Nobody knows then what became of it, and nobody guesses."""
    request = REQUESTS["AllocateConsignment"]
    cases = {place: (request, Reply(200, body)) for place, (body, _) in enumerate(NO_ANSWERS)}

    for place, failed in in_doubt(consignments_stub, upstream, cases).items():
        assert (failed.code, failed.reason) == (grpc.StatusCode.UNKNOWN, "OUTCOME_UNKNOWN")
        assert NO_ANSWERS[place][1] in failed.message
        assert failed.metadata == {
            "upstream_status": "200",
            "cause": "UPSTREAM_CONTRACT_BROKEN",
            "effect": "unknown",
        }
    assert len(lines(upstream)) == len(cases)


def test_an_allocation_of_which_the_carrier_cannot_be_read_is_told_as_made(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """With all of it that can be."""
    upstream.answer(200, [summary(QUOTED, CarrierReference=17, CarrierName=17)])

    failed = refused(consignments_stub, REQUESTS["AllocateConsignment"])

    assert (failed.reason, failed.metadata["effect"]) == ("UPSTREAM_CONTRACT_BROKEN", "made")
    assert "The operation was carried out." in failed.message
    assert "[0].CarrierReference: expected a string, got a number" in failed.message
    assert "CarrierName" not in failed.message
    told = failed.detail(pb.ConsignmentAllocation)
    assert told is not None
    assert (told.consignment_reference, told.carrier_service_reference) == (QUOTED, f"service of {QUOTED}")
    assert sorted(told.unreadable) == ["[0].CarrierName", "[0].CarrierReference"]


@pytest.mark.parametrize("as_object", [False, True])
def test_an_allocation_of_which_another_part_cannot_be_read_is_ok_without_it(
    consignments_stub: Stub, upstream: Upstream, as_object: bool
) -> None:
    """It names the part, by its path from the root of the answer."""
    legs = [{"Leg": "first", "TrackingReferences": ["T", 1]}, 17]
    item = summary(QUOTED, ConsignmentLegs=legs, CarrierName=17)
    upstream.answer(200, item if as_object else [item])

    got = call(consignments_stub, REQUESTS["AllocateConsignment"]).allocation

    root = "" if as_object else "[0]."
    assert sorted(got.unreadable) == [
        f"{root}{path}"
        for path in (
            "CarrierName",
            "ConsignmentLegs[0].Leg",
            "ConsignmentLegs[0].TrackingReferences[1]",
            "ConsignmentLegs[1]",
        )
    ]
    assert (got.carrier_name, got.carrier_reference) == ("", "CARRIER_X")
    assert list(got.legs) == [pb.ConsignmentLeg(tracking_references=["T"])]


def test_what_names_a_consignment_in_a_way_that_cannot_be_read_does_not_go_by_its_place(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """It may name another one."""
    items = [summary(A, **ANONYMOUS), message(None, Data=17, Message="Done."), summary(C)]
    assert services(bulk(consignments_stub, upstream, items)) == ["unknown", "unknown", *of(C)]

    got = call_for_others(consignments_stub, upstream, "AllocateConsignments", 200, items)

    assert list(got.unreadable) == ["[1].Data"]


def test_the_defects_of_an_answer_about_another_consignment_are_not_this_ones(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """One item that nobody asked for, and that cannot be read, beside the one that was asked for."""
    upstream.answer(200, [summary("EC-000-999-999", CarrierName=17), None, summary(QUOTED)])

    got = call(consignments_stub, REQUESTS["AllocateConsignment"]).allocation

    assert got.carrier_service_reference == f"service of {QUOTED}"


# Which consignment an answer is about: the detail link first


HREFS: Final = {
    "documented": "https://api.electioapp.com/consignments/{}",
    "another host": "http://127.0.0.1:1/consignments/{}",
    "a base with a path": "https://example.com/electio/api/consignments/{}",
    "another case": "HTTPS://API.ELECTIOAPP.COM/Consignments/{}",
    "capitals": "https://api.electioapp.com/CONSIGNMENTS/{}",
    "slash at the end": "https://api.electioapp.com/consignments/{}/",
    "slashes in between": "https://api.electioapp.com//consignments//{}",
    "query and fragment": "https://api.electioapp.com/consignments/{}?a=/consignments/EC-000-000-000#b",
    "no host": "/consignments/{}",
    "no slash": "consignments/{}",
    "something below it": "https://api.electioapp.com/consignments/{}/status",
    "a base that is called the same": "https://example.com/consignments/v1/consignments/{}",
}


@pytest.mark.parametrize("href", HREFS.values(), ids=HREFS.keys())
@pytest.mark.parametrize("rel", ["detail", "Detail", "Link"])
def test_the_link_to_the_consignment_names_it(consignments_stub: Stub, upstream: Upstream, href: str, rel: str) -> None:
    """On any host and in any case; the order of the answers says nothing then."""
    items = [summary(reference, **links(href.format(reference), rel=rel)) for reference in (C, A, B)]

    assert services(bulk(consignments_stub, upstream, items)) == of(A, B, C)


@pytest.mark.parametrize(
    ("reference", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a/b", "a%2fb"),
        ("a b", "a%20b"),
        ("a b", "a+b"),
        ("a+b", "a+b"),
        ("a+b", "a%2Bb"),
        ("a+b c", "a+b%20c"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("größe", "größe"),
        ("EC-000-05B-MMA", "%45C-000-05B-MMA"),
        ("100%", "100%25"),
        ("EC-000-05B-MMA", "ec-000-05b-mma"),
        ("ec-000-05b-mma", "EC-000-05B-MMA"),
    ],
)
def test_the_reference_in_a_link_may_be_encoded_in_any_way(
    consignments_stub: Stub, upstream: Upstream, reference: str, segment: str
) -> None:
    """A path is percent-encoded, and the vendor's SDK writes a space as a plus; references do not differ in case."""
    request = pb.AllocateConsignmentsRequest(consignments=["x", reference])
    upstream.answer(200, [summary("", **links(f"{HOSTS}/consignments/{segment}"), CarrierServiceReference="S")])

    results = call(consignments_stub, request).results

    assert [(item.consignment_reference, item.outcome) for item in results] == [("x", UNKNOWN), (reference, DONE)]
    assert results[1].allocation.consignment_reference == reference


def test_references_that_differ_in_case_alone_are_told_apart() -> None:
    """Earlier releases have sent both in one call: then only the exact spelling tells which one is meant."""
    items = [
        summary("", **links(f"{HOSTS}/consignments/EC-1"), CarrierServiceReference="S"),
        summary("", **links(f"{HOSTS}/consignments/Ec-1"), CarrierServiceReference="T"),
    ]
    found = summaries(items, ["ec-1", "EC-1"], Findings())

    assert {name: told.carrier_service for name, told in found.items()} == {"EC-1": "S"}


def test_the_link_to_the_label_names_the_consignment_where_nothing_better_does(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """It is in every sample, beside the link to the consignment."""
    items = [
        summary(B, **links(f"{HOSTS}/labels/{B}", rel="label")),
        summary(A, **links(f"{HOSTS}/Labels/{A}/PDF", rel="label")),
    ]

    assert services(bulk(consignments_stub, upstream, items)) == [*of(A, B), "unknown"]


def test_the_detail_link_wins_over_every_other_and_over_the_description(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Another link may lead to another consignment, such as the one that comes back."""
    item = summary(A)
    item["ApiLinks"] = [
        {"Rel": "return", "Href": f"{HOSTS}/consignments/{C}"},
        {"Rel": "detail", "Href": f"{HOSTS}/consignments/{B}"},
        {"Rel": "label", "Href": f"{HOSTS}/labels/{A}"},
    ]

    assert services(bulk(consignments_stub, upstream, [item])) == ["unknown", *of(A), "unknown"]


# Then the description


DESCRIPTIONS: Final = {
    "documented": "Consignment {} has been successfully allocated with Carrier X for shipping on 18/06/2019 17:00:00",
    "at the end of a sentence": "Carrier X takes {}.",
    "in quotes": "Item '{}' could not be allocated",
    "in brackets": "The consignment ({}) is allocated; see the log",
    "first": "{}: allocated",
    "small letters": "consignment {} has been allocated",
    "twice": "Consignment {0} has been allocated: {0}",
}


@pytest.mark.parametrize("text", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
@pytest.mark.parametrize("shape", ["Description", "Message"])
def test_the_description_names_the_consignment_where_no_link_does(
    consignments_stub: Stub, upstream: Upstream, text: str, shape: str
) -> None:
    """In the documented sentence, and in others that name just one of those that were asked for."""
    items = [
        summary(reference, ApiLinks=[], Description=text.format(reference))
        if shape == "Description"
        else message(None, text=text.format(reference), CarrierServiceReference=f"service of {reference}")
        for reference in (C, A, B)
    ]

    assert services(bulk(consignments_stub, upstream, items)) == of(A, B, C)


def test_a_reference_with_white_space_is_found_in_the_documented_sentence(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Whatever a customer calls its consignments."""
    upstream.answer(
        200,
        [summary("x", ApiLinks=None, Description="Consignment my (first) one has been successfully allocated with Y")],
    )

    results = call(consignments_stub, pb.AllocateConsignmentsRequest(consignments=["a", "my (first) one"])).results

    assert [item.outcome for item in results] == [UNKNOWN, DONE]


def test_a_name_of_a_carrier_service_is_not_taken_for_a_consignment(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """The documented sentence says where the reference is, whatever else is called like one."""
    text = "Consignment EC-000-999-999 has been successfully allocated with UPS STANDARD"
    upstream.answer(200, [summary("x", ApiLinks=None, Description=text)])

    results = call(consignments_stub, pb.AllocateConsignmentsRequest(consignments=["UPS"])).results

    assert [item.outcome for item in results] == [UNKNOWN]


# Then the order, and only if the counts match


def test_the_order_tells_where_nothing_names_a_consignment_and_the_counts_match(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """As many answers as consignments, none of which names another one."""
    items = [summary(A, **ANONYMOUS), summary(B), summary(C, **ANONYMOUS)]

    assert services(bulk(consignments_stub, upstream, items)) == of(A, B, C)


OUT_OF_ORDER: Final[dict[str, tuple[list[Any], list[str]]]] = {
    "one too few": ([summary(A, **ANONYMOUS), summary(B, **ANONYMOUS)], ["unknown"] * 3),
    "one too many": ([summary(A, **ANONYMOUS)] * 4, ["unknown"] * 3),
    "one that is named stands elsewhere": (
        [summary(C), summary(A, **ANONYMOUS), summary(B, **ANONYMOUS)],
        ["unknown", "unknown", f"service of {C}"],
    ),
    "one is another consignment by its link": (
        [summary("EC-000-999-999"), summary(B, **ANONYMOUS), summary(C, **ANONYMOUS)],
        ["unknown"] * 3,
    ),
    "one is another consignment by its description": (
        [summary("EC-000-999-999", ApiLinks=[]), summary(B), summary(C)],
        ["unknown", *of(B, C)],
    ),
    "one is another consignment by its label": (
        [summary(A), summary(B), summary(C, **links(f"{HOSTS}/labels/EC-000-999-999", rel="label"))],
        [*of(A, B), "unknown"],
    ),
    "one is another consignment by its data": (
        [summary(A), message("EC-000-999-999"), summary(C)],
        [f"service of {A}", "unknown", f"service of {C}"],
    ),
    "one names two consignments in its links": (
        [summary(A), summary(B), summary(C, **links(f"{HOSTS}/consignments/{A}", f"{HOSTS}/consignments/{C}"))],
        [*of(A, B), "unknown"],
    ),
    "one names two consignments in its description": (
        [summary(A, ApiLinks=[], Description=f"{A} and {B} are done"), summary(B), summary(C)],
        ["unknown", *of(B, C)],
    ),
    "one has a link and data that differ": (
        [message(A, **links(f"{HOSTS}/consignments/{B}")), summary(B), summary(C)],
        ["unknown", *of(B, C)],
    ),
}


@pytest.mark.parametrize(("items", "wanted"), OUT_OF_ORDER.values(), ids=OUT_OF_ORDER.keys())
def test_what_is_not_accounted_for_is_unknown_and_costs_nobody_else(
    consignments_stub: Stub, upstream: Upstream, items: list[Any], wanted: list[str]
) -> None:
    """No answer is ever taken for a consignment's if it names another one."""
    assert services(bulk(consignments_stub, upstream, items)) == wanted
    # What is unknown is read once, and here in vain.
    assert len(lines(upstream)) == 1 + wanted.count("unknown")


# Whole bulk answers


@pytest.mark.parametrize("rpc", BULKS)
def test_an_answer_in_another_order_is_told_in_that_of_the_request(
    consignments_stub: Stub, upstream: Upstream, rpc: str
) -> None:
    """Each reference exactly once."""
    upstream.answer(200, json.loads(answer("allocated_bulk"))[::-1])

    check(consignments_stub, rpc, expected("allocated_bulk"))


def test_an_answer_to_one_reference_may_be_a_bare_object(consignments_stub: Stub, upstream: Upstream) -> None:
    """Also among several, if it says which one it is about."""
    upstream.answer(200, summary(A, **ANONYMOUS))
    got = call(consignments_stub, pb.AllocateConsignmentsRequest(consignments=[A]))
    assert services(list(got.results)) == of(A)

    assert services(bulk(consignments_stub, upstream, summary(B))) == ["unknown", *of(B), "unknown"]


EQUAL: Final = summary(A)
DUPLICATES: Final[dict[str, tuple[list[Any], str]]] = {
    "equal": ([EQUAL, EQUAL], f"service of {A}"),
    "the second says less": ([EQUAL, summary(A, CarrierServiceReference=None)], f"service of {A}"),
    "the first says less": ([message(A), EQUAL], f"service of {A}"),
    "done and not done": ([EQUAL, summary(A, StatusCode=400)], "unknown"),
    "not done and done": ([message(A, success=False), EQUAL], "unknown"),
    "done, not done, done": ([EQUAL, message(A, success=False), EQUAL], "unknown"),
    "done and nobody knows": ([EQUAL, summary(A, StatusCode=500)], "unknown"),
    "two services": ([EQUAL, summary(A, CarrierServiceReference="another")], "unknown"),
}


@pytest.mark.parametrize(("items", "wanted"), DUPLICATES.values(), ids=DUPLICATES.keys())
def test_two_answers_about_one_consignment_count_if_they_agree(
    consignments_stub: Stub, upstream: Upstream, items: list[Any], wanted: str
) -> None:
    """Those that do not say nothing; the others are not concerned."""
    results = bulk(consignments_stub, upstream, [*items, summary(B)])

    assert services(results) == [wanted, f"service of {B}", "unknown"]


@pytest.mark.parametrize(
    "bad",
    [
        *(None, 17, "text", [], [[]], {}),
        {"StatusCode": "200"},
        {"ApiLinks": "none"},
        {"ApiLinks": [17, {"Href": 1}]},
        {"ApiLinks": [{"Rel": "detail", "Href": "https://[::1"}]},
        {"Description": {}},
        {"IsSuccess": "yes"},
    ],
)
def test_one_bad_item_does_not_discard_the_good_ones(consignments_stub: Stub, upstream: Upstream, bad: object) -> None:
    """Whatever it is, it is unknown and the others are what they are."""
    results = bulk(consignments_stub, upstream, [summary(A), bad, summary(C)])

    assert services(results) == [f"service of {A}", "unknown", f"service of {C}"]


def test_an_item_that_can_be_read_in_part_is_told_in_part(consignments_stub: Stub, upstream: Upstream) -> None:
    """A leg that is no leg does not cost the allocation of a bulk call."""
    items = [
        summary(A, ConsignmentLegs=[{"Leg": "first", "TrackingReferences": ["T", 1]}, 17]),
        summary(B, Description=1),
    ]

    results = bulk(consignments_stub, upstream, items)

    assert services(results) == [*of(A, B), "unknown"]
    same(results[0].allocation.legs[0], pb.ConsignmentLeg(tracking_references=["T"]))


@pytest.mark.parametrize("body", [[], [summary("EC-000-999-999")], [None], [{}], ["text"]])
@pytest.mark.parametrize("rpc", [*BULKS, "DeallocateConsignments"])
def test_an_array_that_speaks_of_none_of_them_leaves_all_unknown(
    consignments_stub: Stub, upstream: Upstream, rpc: str, body: object
) -> None:
    """The prose has a summary for each allocated consignment: one that failed may be left out."""
    assert services(bulk(consignments_stub, upstream, body, rpc)) == ["unknown"] * 3


def test_an_answer_that_is_no_array_and_speaks_of_none_of_them_is_no_answer(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """A bulk call is in doubt as a whole only if there is no answer for each of them."""
    bodies: tuple[object, ...] = ({}, {"Message": "Done."}, summary("EC-000-999-999"), "Done.", 17, True)
    cases = {
        (rpc, place, status): (REQUESTS[rpc], Reply(status, body))
        for rpc in ("AllocateConsignments", "DeallocateConsignments")
        for place, body in enumerate(bodies)
        for status in (200, 202)
    }
    for failed in in_doubt(consignments_stub, upstream, cases).values():
        assert (failed.reason, failed.metadata["cause"]) == ("OUTCOME_UNKNOWN", "UPSTREAM_CONTRACT_BROKEN")


@pytest.mark.parametrize("rpc", [*BULKS, "DeallocateConsignments"])
@pytest.mark.parametrize("body", [b"", b" \r\n", b"null"])
def test_a_bulk_call_that_was_only_accepted_leaves_all_unknown_if_nothing_can_be_read(
    consignments_stub: Stub, upstream: Upstream, rpc: str, body: bytes
) -> None:
    """202 is listed for each of them, and nothing says what comes with it."""
    results = call_for_others(consignments_stub, upstream, rpc, 202, body).results

    wanted = "".join(
        f'results {{ consignment_reference: "{reference}" outcome: OUTCOME_UNKNOWN }}'
        for reference in REQUESTS[rpc].consignments  # type: ignore[attr-defined]
    )
    assert list(results) == list(response(rpc, wanted).results)  # type: ignore[attr-defined]
    assert len(lines(upstream)) == 1 + len(results)


def test_an_item_that_was_only_accepted_is_unknown(consignments_stub: Stub, upstream: Upstream) -> None:
    """Taken in hand is not done, unless a carrier service is named."""
    items = [
        summary(A, StatusCode=202, CarrierServiceReference=None),
        summary(B, StatusCode=202),
        summary(C, StatusCode=202, CarrierServiceReference=""),
    ]

    results = bulk(consignments_stub, upstream, items, status=202)

    assert services(results) == ["unknown", f"service of {B}", "unknown"]
    assert [item.status_code for item in results] == [202, 202, 202]


STATUSES: Final[dict[int | None, str]] = {
    200: "done",
    201: "done",
    299: "done",
    100: "unknown",
    300: "unknown",
    400: "rejected",
    404: "rejected",
    408: "unknown",
    409: "rejected",
    424: "unknown",
    425: "unknown",
    429: "rejected",
    499: "unknown",
    500: "unknown",
    503: "unknown",
    -1: "unknown",
    0: "done",
    None: "done",
    2**31: "done",
}


@pytest.mark.parametrize(("status", "wanted"), STATUSES.items())
def test_the_status_of_an_item_is_read_like_that_of_an_answer(
    consignments_stub: Stub, upstream: Upstream, status: int | None, wanted: str
) -> None:
    """A refusal is one, a failure says nothing; without one that can be read, the carrier service is proof."""
    named = {"CarrierServiceReference": None} if status is not None and 400 <= status < 500 else {}
    results = bulk(consignments_stub, upstream, [summary(A, StatusCode=status, **named)])

    assert results[0].outcome == pb.Outcome.Value(f"OUTCOME_{wanted.upper()}")


@pytest.mark.parametrize(
    "item",
    [
        summary(A, StatusCode=400),
        summary(A, StatusCode=409, CarrierServiceReference=None, ConsignmentLegs=[{"LegNumber": 1}]),
        message(A, success=False, CarrierServiceReference="MPD_1"),
        message(A, success=False, ConsignmentLegs=[{"LegNumber": 1}]),
    ],
)
def test_a_refusal_of_what_has_a_carrier_is_none(consignments_stub: Stub, upstream: Upstream, item: object) -> None:
    """Only what is allocated has a service and legs: the item contradicts itself, whatever the status of all is."""
    assert bulk(consignments_stub, upstream, [item])[0].outcome == UNKNOWN


def test_an_item_without_a_status_and_without_a_carrier_service_is_unknown(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """Nothing says that it was done."""
    items = [summary(A, StatusCode=None, CarrierServiceReference=None)]

    assert services(bulk(consignments_stub, upstream, items)) == ["unknown"] * 3


@pytest.mark.parametrize(
    ("item", "outcome"),
    [
        (message(A), DONE),
        (message(A, success=False), REJECTED),
        (message(A, StatusCode=200), DONE),
        (message(A, StatusCode=400), UNKNOWN),
        (message(A, success=False, StatusCode=200), UNKNOWN),
        (message(A, success=False, StatusCode=400), REJECTED),
        (message(A, IsSuccess=None), UNKNOWN),
        (message(A, IsSuccess=None, StatusCode=200), DONE),
        (message(A, IsSuccess="true"), UNKNOWN),
        (message(A, IsSuccess=1), UNKNOWN),
    ],
)
def test_a_with_message_says_itself_whether_it_was_done(
    consignments_stub: Stub, upstream: Upstream, item: object, outcome: int
) -> None:
    """And with a status beside it that says otherwise, it says nothing."""
    assert bulk(consignments_stub, upstream, [item, summary(B), summary(C)])[0].outcome == outcome


# De-allocation


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("body", [b"", b" ", b"null", b'""', b"{}", b"[]", b'{"IsSuccess": true}'])
def test_a_deallocation_is_done_by_its_status(
    consignments_stub: Stub, upstream: Upstream, status: int, body: bytes
) -> None:
    """Documented without a body, which some frameworks write as one of nothing."""
    upstream.answer(status, body)

    check(consignments_stub, "DeallocateConsignment", expected("deallocated"))
    assert len(lines(upstream)) == 1


@pytest.mark.parametrize("item", [message("EC-000-05B-MMA", success=False), message(None, success=False)])
def test_a_deallocation_whose_body_says_that_it_failed_has_failed(
    consignments_stub: Stub, upstream: Upstream, item: object
) -> None:
    """Whatever its status."""
    upstream.answer(200, item)
    upstream.answer(503)

    failed = refused(consignments_stub, REQUESTS["DeallocateConsignment"])

    assert (failed.reason, failed.metadata["effect"]) == ("INVALID_STATE", "none")


def test_each_consignment_of_a_bulk_deallocation_has_its_own_result(
    consignments_stub: Stub, upstream: Upstream
) -> None:
    """One that failed does not cost the others."""
    first, second, third = REQUESTS["DeallocateConsignments"].consignments  # type: ignore[attr-defined]
    items = [message(second, success=False, text="No."), message(first, text="Yes.")]
    results = bulk(consignments_stub, upstream, items, "DeallocateConsignments")

    wanted = f"""
        results {{ consignment_reference: "{first}" outcome: OUTCOME_DONE description: "Yes." }}
        results {{
          consignment_reference: "{second}" outcome: OUTCOME_REJECTED description: "No."
          reason: ERROR_REASON_INVALID_STATE
        }}
        results {{ consignment_reference: "{third}" outcome: OUTCOME_UNKNOWN }}
        """
    assert results == list(response("DeallocateConsignments", wanted).results)  # type: ignore[attr-defined]


# Encodings


ENCODINGS: Final = {
    "gzip": {"content-encoding": "gzip"},
    "gzipped": {"content-encoding": "gzipped"},
    "x-gzip": {"content-encoding": "x-gzip"},
}


@pytest.mark.parametrize("rpc", sorted(REQUESTS))
def test_an_answer_may_begin_with_a_byte_order_mark(consignments_stub: Stub, upstream: Upstream, rpc: str) -> None:
    """Whether or not anything follows it."""
    upstream.answer(200, b"\xef\xbb\xbf" + answer(GOLDEN[rpc]))

    check(consignments_stub, rpc, expected(GOLDEN[rpc]))


@pytest.mark.parametrize("rpc", sorted(set(REQUESTS) - {"DeallocateConsignment"}))
@pytest.mark.parametrize("headers", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_an_answer_may_be_compressed(
    consignments_stub: Stub, upstream: Upstream, rpc: str, headers: dict[str, str]
) -> None:
    """As it was asked for."""
    upstream.answer(200, gzip.compress(answer(GOLDEN[rpc])), headers=headers)

    check(consignments_stub, rpc, expected(GOLDEN[rpc]))


def test_an_answer_may_be_large(consignments_stub: Stub, upstream: Upstream) -> None:
    """A hundred consignments with many legs each."""
    references = [f"EC-{n:03}-000-000" for n in range(100)]
    legs = [{"Leg": n, "TrackingReferences": ["T" * 50] * 10, "CarrierName": "Carrier"} for n in range(20)]
    upstream.answer(200, [summary(reference, ConsignmentLegs=legs) for reference in reversed(references)])

    results = call(consignments_stub, changed(REQUESTS["AllocateConsignments"], consignments=references)).results

    assert services(list(results)) == of(*references)
    assert all(len(item.allocation.legs) == 20 for item in results)

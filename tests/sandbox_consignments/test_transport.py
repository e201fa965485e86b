"""What holds for every request: keys, versions, paths, bodies, and failures of the sandbox itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from allocation_gateway.sandbox.consignments.seed import in_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox_consignments.calling import HEADERS, PLAIN, UNKNOWN, Caller, cheapest, many

MISSING = (
    "Access denied due to missing subscription key. "
    "Make sure to include subscription key when making requests to an API."
)
INVALID = "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
KEY = "ocp-apim-subscription-key"
VERSION = "electio-api-version"


async def bare(caller: Caller, path: str, headers: dict[str, str]) -> Any:
    return await caller.http.get(caller.sandbox.consignments_base_url + path, headers=headers)


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [f"/consignments/{PLAIN[0]}", "/allocation/no/such/path", "/quotes"])
@pytest.mark.parametrize(("headers", "message"), [({}, MISSING), ({KEY: "wrong"}, INVALID), ({KEY: ""}, INVALID)])
async def test_a_key_is_demanded_on_every_path(
    caller: Caller, path: str, headers: dict[str, str], message: str
) -> None:
    response = await bare(caller, path, {**headers, VERSION: "1.1"})
    assert (response.status_code, response.json()) == (401, {"statusCode": 401, "message": message})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({}, "MissingApiKeyException", MISSING),
        ({KEY: "wrong"}, "InvalidApiKeyException", "API key 'wrong' is not valid"),
    ],
)
async def test_a_missing_key_may_be_an_api_error(
    caller: Caller, headers: dict[str, str], code: str, message: str
) -> None:
    await caller.switch(access_error="api_error")
    response = await bare(caller, f"/consignments/{PLAIN[0]}", headers)
    assert (response.status_code, response.json()["Code"], response.json()["Message"]) == (401, code, message)


@pytest.mark.asyncio
async def test_the_key_may_be_given_in_the_query(caller: Caller) -> None:
    path = f"/consignments/{PLAIN[0]}/status"
    assert (await bare(caller, f"{path}?subscription-key=sandbox-key", {})).status_code == 200
    assert (await bare(caller, f"{path}?subscription-key=wrong", {})).status_code == 401
    # The header wins.
    assert (await bare(caller, f"{path}?subscription-key=sandbox-key", {KEY: "wrong"})).status_code == 401


@pytest.mark.asyncio
@pytest.mark.parametrize(("header", "value"), [(KEY, b"\xff\xfe"), (VERSION, b"\xff\xfe")])
async def test_headers_that_are_no_text_are_refused(caller: Caller, header: str, value: bytes) -> None:
    await caller.switch(access_error="api_error")
    headers = {name.encode(): given.encode() for name, given in HEADERS.items()} | {header.encode(): value}
    url = f"{caller.sandbox.consignments_base_url}/consignments/{PLAIN[0]}"
    response = await caller.http.get(url, headers=headers)
    assert response.status_code == (401 if header == KEY else 400)
    assert response.json()["Message"]


@pytest.mark.asyncio
async def test_version_1_has_the_older_shapes(caller: Caller) -> None:
    old = {VERSION: "1"}
    (item,) = (await caller.call("PUT", cheapest(PLAIN[0]), headers=old)).json()
    assert list(item) == ["IsSuccess", "Message", "Data", "ApiLinks"]
    document = (await caller.call("GET", f"/consignments/{PLAIN[0]}", headers=old)).json()
    new = await caller.consignment(PLAIN[0])
    assert document["Weight"] == {"Kg": 0.5}
    assert "Unit" not in document["Packages"][0]["Dimensions"]
    assert document["ConsignmentLegs"][0]["TrackingReference"] == new["ConsignmentLegs"][0]["TrackingReferences"][0]
    assert "CarrierServiceReference" not in document["ConsignmentLegs"][0]
    assert document["Allocation"]["Price"]["VatRate"] == new["Allocation"]["Price"]["TaxRate"]


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "status", "member"), [("1.1", 200, "StatusCode"), ("1", 200, "IsSuccess")])
async def test_a_missing_version_means_one_or_the_other(caller: Caller, kind: str, status: int, member: str) -> None:
    await caller.switch(missing_version=kind)
    url = caller.sandbox.consignments_base_url + cheapest(PLAIN[0])
    response = await caller.http.put(url, headers={KEY: "sandbox-key"})
    assert (response.status_code, next(iter(response.json()[0]))) == (status, member)


@pytest.mark.asyncio
async def test_a_missing_version_may_be_refused_and_an_unknown_one_always_is(caller: Caller) -> None:
    await caller.switch(missing_version="refused")
    for headers in ({KEY: "sandbox-key"}, {**HEADERS, VERSION: "2"}):
        response = await bare(caller, f"/consignments/{PLAIN[0]}", headers)
        assert (response.status_code, response.json()["Details"][0]["Target"]) == (400, VERSION)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        f"/consignments/{PLAIN[0]}",
        f"/Consignments/{PLAIN[0]}/",
        f"/CONSIGNMENTS/GetConsignmentOnly/{PLAIN[0]}",
        "/consignments/EC-%31%30%30-000-001",
        "/serviceGroups",
        "/servicegroups/Summaries/",
    ],
)
async def test_paths_match_in_any_case_with_or_without_a_trailing_slash(caller: Caller, path: str) -> None:
    assert (await caller.call("GET", path)).status_code == 200


@pytest.mark.asyncio
async def test_references_are_taken_as_they_are(caller: Caller) -> None:
    await caller.world(groups={"valuablegoods": {"name": "Other", "services": ["CX_NDS"]}})
    response = await caller.put(f"/allocation/{PLAIN[0]}/ALLOCATEWITHSERVICEGROUP/valuablegoods")
    assert response.json()[0]["CarrierServiceReference"] == "CX_NDS"
    lower = in_state("Allocated").lower()
    assert (await caller.call("GET", f"/consignments/{lower}")).status_code == 404


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/allocation/nothing"),
        ("GET", "/allocation"),
        ("PUT", f"/allocation/{PLAIN[0]}/allocatewithservicegroup/"),
        ("PUT", "/allocation/allocate/2026-03-04"),
        ("POST", f"/consignments/{PLAIN[0]}"),
        ("PUT", f"/consignments/{PLAIN[0]}//deallocate"),
        ("DELETE", "/servicegroups/valuableGoods"),
    ],
)
async def test_an_operation_that_does_not_exist_is_not_found(caller: Caller, method: str, path: str) -> None:
    response = await caller.call(method, path)
    assert (response.status_code, response.json()) == (404, {"statusCode": 404, "message": "Resource not found"})


@pytest.mark.asyncio
async def test_both_apis_are_served_at_once(caller: Caller) -> None:
    ship = await caller.ship("GET", "/shipments/sp_00794403010635468411384028069888")
    assert (ship.status_code, ship.json()["state"]) == (200, "unallocated")
    assert await caller.state(PLAIN[0]) == "Unallocated"
    elsewhere = await caller.http.get(f"{caller.sandbox.base_url}/elsewhere")
    assert (elsewhere.status_code, list(elsewhere.json())) == (404, ["error"])


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [None, b"", b'""', b' ""\r\n'])
@pytest.mark.parametrize(
    "path", [cheapest(PLAIN[0]), f"/allocation/{PLAIN[0]}/labels/PDF", f"/consignments/{in_state('Allocated')}/cancel"]
)
async def test_no_body_may_be_said_in_several_ways(caller: Caller, path: str, content: bytes | None) -> None:
    response = await caller.call("PUT", path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [b"{}", b"null", b'"x"'])
async def test_a_body_where_there_is_none_is_refused(caller: Caller, content: bytes) -> None:
    response = await caller.call("PUT", cheapest(PLAIN[0]), content=content)
    assert (response.status_code, await caller.state(PLAIN[0])) == (400, "Unallocated")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "content"),
    [
        *(("/allocation/allocate", content) for content in (b"", b"{", b"[]", b"7", b'"\xff"', b"[" * 100_000)),
        ("/allocation/allocate", b'{"ConsignmentReferences": "EC-1"}'),
        ("/allocation/allocate", b'{"ConsignmentReferences": [1]}'),
        ("/allocation/allocatewithcarrierservice", b'{"ConsignmentReferences": ["EC-1"]}'),
        ("/allocation/allocatewithservicegroup", b'{"ConsignmentReferences": ["EC-1"]}'),
        ("/allocation/allocateConsignmentsWithServiceFilters", b'{"ConsignmentReferences": ["EC-1"]}'),
        ("/consignments/deallocatelist", b'{"ConsignmentReferences": ["EC-1"]}'),
        ("/consignments/manifest", b'["EC-1"]'),
    ],
)
async def test_a_body_of_the_wrong_shape_is_refused(caller: Caller, path: str, content: bytes) -> None:
    response = await caller.call("PUT", path, content=content)
    assert (response.status_code, response.json()["Code"]) == (400, "ValidationException")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/xml"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Accept": "text/xml"}, 406),
        ({"Accept": "text/xml, application/json;q=0.5"}, 200),
    ],
)
async def test_only_json_is_spoken(caller: Caller, headers: dict[str, str], status: int) -> None:
    response = await caller.call("PUT", "/allocation/allocate", many(PLAIN[0]), headers=headers)
    assert response.status_code == status


@pytest.mark.asyncio
async def test_a_failure_of_the_sandbox_itself_is_an_api_error(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(caller.sandbox.consignments.world), "make_guid", None)
    response = await caller.call("GET", f"/quotes/consignment/{PLAIN[0]}")
    assert (response.status_code, response.json()["Code"]) == (500, "OperationFailedException")
    assert "the sandbox failed on GET /quotes/consignment/{consignmentReference}" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers() | st.floats(0, 1e12) | st.sampled_from([0, 1, 10**9])
MEASURES = st.fixed_dictionaries({"Value": NUMBERS})
SIDES = st.fixed_dictionaries({"Width": NUMBERS, "Length": NUMBERS, "Height": NUMBERS})
PACKAGES = st.fixed_dictionaries(
    {"Weight": JSON | MEASURES, "Dimensions": JSON | SIDES},
    optional={"Value": JSON | st.fixed_dictionaries({"Amount": NUMBERS}), "PackageSizeReference": JSON},
)
ADDRESSES = st.fixed_dictionaries(
    {"AddressType": st.sampled_from(["Origin", "Destination", "Origin, Destination", "Nothing"])},
    optional={
        "ShippingLocationReference": JSON | st.just("Sorted1"),
        "Postcode": JSON,
        "Country": JSON | st.fixed_dictionaries({"IsoCode": JSON | st.fixed_dictionaries({"TwoLetterCode": JSON})}),
    },
)
BODIES = st.fixed_dictionaries(
    {
        "Packages": JSON | st.lists(PACKAGES, max_size=2),
        "Addresses": JSON | st.lists(ADDRESSES, max_size=3),
        "ConsignmentReferences": JSON | st.lists(st.sampled_from([UNKNOWN, PLAIN[0]]), max_size=3),
    },
    optional=dict.fromkeys(
        (
            *("Tags", "MetaData", "Direction", "ShippingDate", "RequiredDeliveryDate", "CustomsDocumentation"),
            *("MpdCarrierServiceReference", "MpdCarrierServiceGroupReference", "Filters"),
        ),
        JSON,
    ),
)
TARGETS = [
    ("POST", "/consignments"),
    ("POST", "/quotes"),
    ("POST", "/quotes/serviceGroups"),
    ("PUT", "/allocation/allocate"),
    ("PUT", "/allocation/allocatewithcarrierservice"),
    ("PUT", "/allocation/allocatewithservicegroup"),
    ("PUT", "/allocation/allocateConsignmentsWithServiceFilters"),
    ("PUT", "/consignments/deallocatelist"),
    ("PUT", "/consignments/manifest"),
]


@pytest.mark.asyncio
async def test_no_body_whatever_makes_the_sandbox_fail(caller: Caller) -> None:
    """Every answer to a random body is a refusal or a success, and what was created can be read and quoted."""
    answered: set[int] = set()
    loop = asyncio.get_running_loop()

    async def try_out(method: str, path: str, body: object) -> None:
        response = await caller.call(method, path, body)
        answered.add(response.status_code)
        assert response.status_code < 500, response.text
        if path == "/consignments" and response.status_code == 201:
            reference = response.json()[0]["Href"].rpartition("/")[2]
            assert (await caller.consignment(reference))["Reference"] == reference
            assert (await caller.call("GET", f"/quotes/consignment/{reference}")).status_code == 201

    @settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(TARGETS), BODIES | JSON)
    def attack(target: tuple[str, str], body: object) -> None:
        asyncio.run_coroutine_threadsafe(try_out(*target, body), loop).result(10)

    await asyncio.to_thread(attack)
    assert answered >= {200, 400}

"""What holds for every request: headers, paths, methods, encodings, and bodies that are no bodies."""

from __future__ import annotations

import asyncio
import gzip
from urllib.parse import quote

import httpx
import msgspec
import pytest
from allocation_gateway.sandbox.routing import split_path
from allocation_gateway.sandbox.ship.seed import DEFAULT_RULES_SHIPMENT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox.calling import HEADERS, ON_DEMAND, UNKNOWN, Caller, codes, properties

SHIPMENT = f"/shipments/{ON_DEMAND}"


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [SHIPMENT, "/no/such/path"])
@pytest.mark.parametrize(
    ("headers", "status", "parent", "child"),
    [
        ({"x-api-version": "1.1"}, 401, "unauthorised", "missing_api_key_header"),
        ({"x-api-key": "wrong", "x-api-version": "1.1"}, 401, "unauthorised", "invalid_api_key"),
        ({"x-api-key": "sandbox-key"}, 400, "validation_error", "version_header_missing"),
        ({"x-api-key": "sandbox-key", "x-api-version": "1.0"}, 400, "validation_error", "version_header_error"),
        ({**HEADERS, "Accept": "application/xml"}, 400, "validation_error", "invalid_format"),
    ],
)
async def test_headers_are_enforced_on_every_path(
    caller: Caller, path: str, headers: dict[str, str], status: int, parent: str, child: str
) -> None:
    response = await caller.http.get(caller.sandbox.ship_base_url + path, headers=headers)
    assert (response.status_code, response.json()["code"], codes(response)) == (status, parent, [child])
    assert response.headers["x-api-version"] == "1.1"


@pytest.mark.asyncio
@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/jsonish"])
async def test_a_body_that_says_it_is_not_json_is_refused(caller: Caller, content_type: str) -> None:
    response = await caller.ship("PUT", "/shipments/allocate", content=b"{}", headers={"Content-Type": content_type})
    assert (response.status_code, codes(response), properties(response)) == (400, ["invalid_format"], ["Content-Type"])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "text/json", "application/json-patch+json", "application/x+json"],
)
async def test_every_documented_content_type_is_taken(caller: Caller, content_type: str) -> None:
    response = await caller.ship("PUT", "/shipments/allocate", content=b"{}", headers={"Content-Type": content_type})
    assert codes(response) == ["required_property_missing"]


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"\xff"', b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_refused(caller: Caller, body: bytes) -> None:
    response = await caller.ship("PUT", "/shipments/allocate", content=body)
    assert (response.status_code, codes(response)) == (400, ["invalid_format"])


@pytest.mark.asyncio
async def test_a_body_beyond_a_mebibyte_is_refused(caller: Caller) -> None:
    response = await caller.ship("PUT", "/shipments/allocate", content=b" " * (1024 * 1024 + 1))
    assert response.status_code == 413


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["/nowhere", "/shipments/", f"{SHIPMENT}/", "/shipments//allocate", f"{SHIPMENT}/allocate/service/", ""]
)
async def test_an_unknown_path_is_not_found(caller: Caller, path: str) -> None:
    response = await caller.put(path)
    assert (response.status_code, codes(response)) == (404, ["not_found"])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path"), [("POST", f"{SHIPMENT}/allocate"), ("DELETE", SHIPMENT), ("PATCH", "/shipments")]
)
async def test_a_known_path_with_another_method_is_not_supported(caller: Caller, method: str, path: str) -> None:
    response = await caller.ship(method, path)
    assert (response.status_code, codes(response)) == (405, ["method_not_supported"])


@pytest.mark.asyncio
async def test_outside_every_api_the_answer_is_still_json(caller: Caller) -> None:
    response = await caller.http.get(caller.sandbox.base_url + "/elsewhere")
    assert (response.status_code, list(response.json())) == (404, ["error"])


@pytest.mark.asyncio
async def test_a_group_code_is_percent_decoded_exactly_once_and_may_hold_slashes(caller: Caller) -> None:
    code = quote("Größe / 50% & mehr", safe="")
    assert "%2F" in code
    assert "%25" in code
    url = f"/shipments/{DEFAULT_RULES_SHIPMENT}/allocate/service_group/{code}"
    assert (await caller.put(url)).status_code == 200
    twice = quote(code, safe="")
    again = await caller.put(f"/shipments/{UNKNOWN}/allocate/service_group/{twice}")
    assert again.status_code == 404


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_any_text_survives_as_a_path_segment(segments: list[str]) -> None:
    assert split_path("/" + "/".join(quote(segment, safe="") for segment in segments)) == segments


async def raw(caller: Caller, accept_encoding: str | None) -> tuple[str | None, bytes]:
    headers = {**HEADERS, "Accept-Encoding": accept_encoding or ""}
    url = f"{caller.sandbox.ship_base_url}{SHIPMENT}"
    async with caller.http.stream("GET", url, headers=headers) as response:
        return response.headers.get("content-encoding"), b"".join([piece async for piece in response.aiter_raw()])


@pytest.mark.asyncio
@pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=1.0", "GZIP"])
async def test_answers_are_gzipped_for_those_who_ask(caller: Caller, accepted: str) -> None:
    encoding, body = await raw(caller, accepted)
    assert encoding == "gzip"
    assert msgspec.json.decode(gzip.decompress(body))["reference"] == ON_DEMAND


@pytest.mark.asyncio
@pytest.mark.parametrize("accepted", [None, "identity", "gzip;q=0", "deflate"])
async def test_answers_are_plain_for_those_who_do_not_ask(caller: Caller, accepted: str | None) -> None:
    encoding, body = await raw(caller, accepted)
    assert encoding is None
    assert msgspec.json.decode(body)["reference"] == ON_DEMAND


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = [
    *("shipment_type", "addresses", "contents", "tags", "direction", "metadata", "required_delivery_date"),
    *("shipments", "service_group", "carrier_service_reference", "capabilities", "filters"),
    *("reference", "state", "reason"),
]
ITEM_MEMBERS = [
    *("address_type", "contact", "value", "weight", "dimensions", "quantity", "contents", "dangerous_goods"),
    *("type", "direction", "tags", "start"),
]
LEAF_MEMBERS = ["unit", "value", "amount", "hazard_classes", "email"]
ITEM = st.dictionaries(
    st.sampled_from(ITEM_MEMBERS),
    JSON | st.dictionaries(st.sampled_from(LEAF_MEMBERS), JSON, max_size=3),
    max_size=4,
)
BODIES = st.dictionaries(st.sampled_from(MEMBERS), JSON | ITEM | st.lists(ITEM, max_size=3), max_size=6)
TARGETS = [
    ("POST", "/shipments"),
    ("POST", "/shipments/quote"),
    ("PUT", "/shipments/state"),
    ("PUT", "/shipments/allocate"),
    ("PUT", "/shipments/allocate/service"),
    ("PUT", "/shipments/allocate/service_group"),
    ("PUT", "/shipments/allocate/filters"),
]


@pytest.mark.asyncio
async def test_no_body_whatever_makes_the_sandbox_fail(caller: Caller) -> None:
    """Every answer to a random body is a refusal or a success, never a 500."""
    answered: list[int] = []
    loop = asyncio.get_running_loop()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(TARGETS), BODIES)
    def attack(target: tuple[str, str], body: object) -> None:
        future = asyncio.run_coroutine_threadsafe(caller.ship(*target, body), loop)
        answered.append(future.result(10).status_code)
        assert answered[-1] < 500 or answered[-1] in {521, 531}

    await asyncio.to_thread(attack)
    assert answered


@pytest.mark.asyncio
async def test_a_failure_of_the_sandbox_itself_is_a_documented_500(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(caller.sandbox.ship.world), "make_reference", None)
    response = await caller.ship("POST", f"{SHIPMENT}/quote")
    assert (response.status_code, codes(response)) == (500, ["internal_server_error"])
    assert "the sandbox failed on POST /shipments/{reference}/quote" in caplog.text


@pytest.mark.asyncio
async def test_a_client_that_leaves_in_the_middle_of_its_request_harms_nobody(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", caller.sandbox.port)
    writer.write(b"PUT /pro/shipments/allocate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await caller.ship("GET", SHIPMENT)).status_code == 200
    assert caplog.records == []


@pytest.mark.asyncio
async def test_a_compressed_request_body_is_no_json(caller: Caller) -> None:
    body = gzip.compress(b"{}")
    response = await caller.ship("PUT", "/shipments/allocate", content=body, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, codes(response)) == (400, ["invalid_format"])


def test_the_client_used_here_sends_what_a_test_says() -> None:
    """If httpx normalised escaped slashes, the test of decoding would prove nothing."""
    assert httpx.URL("http://x/a%2Fb%25c").raw_path == b"/a%2Fb%25c"

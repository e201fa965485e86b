"""Labels, alone and together with an allocation: real files, base64."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from typing import Any

import pytest
from allocation_gateway.sandbox.consignments import states
from allocation_gateway.sandbox.consignments.seed import (
    FAILING_RETURN,
    QUOTE,
    QUOTED,
    RETURN,
    WITH_FAILING_RETURN,
    WITH_RETURN,
    in_state,
)
from sandbox_consignments.calling import PLAIN, UNKNOWN, Caller, cheapest

pytestmark = pytest.mark.asyncio

UPS_NAME = "UPS STANDARD (Delivery Confirmation Signature Required)"


async def label(caller: Caller, reference: str, kind: str = "") -> tuple[bytes, str]:
    document = await caller.read(f"/labels/{reference}{kind}")
    assert list(document) == ["File", "ContentType"]
    return base64.b64decode(document["File"], validate=True), document["ContentType"]


def check_pdf(content: bytes) -> None:
    """The parts of a PDF are where its cross-reference table says."""
    start = int(content.split(b"startxref\n")[1].split(b"\n")[0])
    assert content[start:].startswith(b"xref\n0 6\n")
    offsets = [int(entry) for entry in re.findall(rb"(\d{10}) 00000 n ", content[start:])]
    assert [content[offset : offset + 7] for offset in offsets] == [b"%d 0 obj" % number for number in range(1, 6)]
    length = int(content.split(b"<</Length ")[1].split(b">>")[0])
    assert content.split(b"stream\n")[1][length:].startswith(b"\nend")
    assert content.startswith(b"%PDF-1.4\n")
    assert content.endswith(b"%%EOF\n")


async def test_the_pdf_is_valid_and_names_the_consignment_and_the_service(caller: Caller) -> None:
    reference = in_state("Allocated")
    content, content_type = await label(caller, reference)
    assert content_type == "application/pdf"
    check_pdf(content)
    assert reference.encode() in content
    assert UPS_NAME.replace("(", "\\(").replace(")", "\\)").encode() in content


async def test_the_png_is_valid(caller: Caller) -> None:
    content, content_type = await label(caller, in_state("Allocated"), "/png")
    assert (content_type, content[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    rest, kinds, pixels = content[8:], [], b""
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        kind, data, (check,) = rest[4:8], rest[8 : 8 + length], struct.unpack(">I", rest[8 + length : 12 + length])
        assert zlib.crc32(kind + data) == check
        kinds.append(kind)
        pixels += data if kind == b"IDAT" else b""
        if kind == b"IHDR":
            width, height = struct.unpack(">II", data[:8])
        rest = rest[12 + length :]
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(zlib.decompress(pixels)) == height * (1 + width // 8)


@pytest.mark.parametrize("kind", ["zpl", "ZPL", "ZPLII"])
async def test_the_zpl_is_one_label(caller: Caller, kind: str) -> None:
    reference = in_state("Allocated")
    content, content_type = await label(caller, reference, f"/{kind}")
    assert content_type == "application/zpl"
    assert content.startswith(b"^XA")
    assert content.rstrip().endswith(b"^XZ")
    assert f"^FD{reference}^FS".encode() in content


@pytest.mark.parametrize("state", states.NUMBERS)
async def test_what_has_a_label(caller: Caller, state: str) -> None:
    response = await caller.call("GET", f"/labels/{in_state(state)}")
    if state in {*("Unallocated", "Allocating", "AllocationFailed"), *("Manifesting", "Cancelling", "Cancelled")}:
        assert (response.status_code, response.json()["Code"]) == (404, "LabelNotFoundException")
        message = f"Label not found for consignment reference '{in_state(state)}'"
        assert response.json()["Message"] == message
    else:
        assert response.status_code == 200


async def test_a_label_is_counted_on_the_consignment(caller: Caller) -> None:
    await caller.put(cheapest(PLAIN[0]))
    before = await caller.consignment(PLAIN[0])
    await label(caller, PLAIN[0])
    await label(caller, PLAIN[0])
    after = await caller.consignment(PLAIN[0])
    assert (before["LabelCount"], before["LabelsPrinted"], before["DateLabelsWereFirstPrinted"]) == (0, False, None)
    assert (after["LabelCount"], after["LabelsPrinted"]) == (2, True)
    assert after["DateLabelsWereFirstPrinted"] == "2026-03-04T10:00:00.0000000+00:00"


@pytest.mark.parametrize("path", [f"/labels/{in_state('Allocated')}/gif", f"/allocation/{PLAIN[0]}/labels/gif"])
async def test_an_unknown_format_is_refused_before_anything_happens(caller: Caller, path: str) -> None:
    response = await caller.call("GET" if path.startswith("/labels") else "PUT", path)
    assert (response.status_code, response.json()["Details"][0]["Target"]) == (400, "labelFormat")
    assert await caller.state(PLAIN[0]) == "Unallocated"


@pytest.mark.parametrize(
    ("path", "service"),
    [
        (f"/allocation/{QUOTED}/labels/PDF", "MPD_RMDTPS48HNAUT"),
        (f"/allocation/{QUOTED}/carrierservice/CX_NDS/labels/pdf", "CX_NDS"),
        (f"/allocation/{QUOTED}/servicegroup/valuableGoods/labels/PDF", "EDC5_UPSHSTDCS"),
        (f"/allocation/{QUOTED}/quote/{QUOTE}/labels/PDF", "EDC5_UPSHSTDCS"),
    ],
)
async def test_every_form_of_allocating_gives_a_label_with_it(caller: Caller, path: str, service: str) -> None:
    response = await caller.put(path)
    assert response.status_code == 200
    (result,) = response.json()["Responses"]
    assert list(result) == [
        *("LabelType", "StatusCode", "LabelContent", "LabelFileType", "Result", "ConsignmentLegs", "CarrierReference"),
        *("CarrierName", "CarrierServiceReference", "CarrierServiceName", "Message", "ApiLinks"),
    ]
    assert (result["LabelType"], result["StatusCode"], result["Result"]) == ("Consignment", 200, "ConsignmentAllocated")
    assert (result["LabelFileType"], result["CarrierServiceReference"]) == ("application/pdf", service)
    check_pdf(base64.b64decode(result["LabelContent"]))
    assert await caller.bookings(QUOTED) == 1


def kinds(response: Any) -> list[tuple[str, int, str]]:
    return [(item["LabelType"], item["StatusCode"], item["Result"]) for item in response.json()["Responses"]]


async def test_a_consignment_with_a_return_gives_two_labels(caller: Caller) -> None:
    response = await caller.put(f"/allocation/{WITH_RETURN}/labels/ZPL")
    assert kinds(response) == [
        ("Consignment", 200, "ConsignmentAllocated"),
        ("Return", 200, "ReturnConsignmentAllocated"),
    ]
    for item, reference in zip(response.json()["Responses"], (WITH_RETURN, RETURN), strict=True):
        assert reference.encode() in base64.b64decode(item["LabelContent"])
        assert await caller.bookings(reference) == 1
    assert response.json()["Responses"][1]["CarrierServiceReference"] == "SBX_RETURN"


async def test_a_return_that_is_booked_already_is_not_booked_again(caller: Caller) -> None:
    await caller.put(cheapest(RETURN))
    response = await caller.put(f"/allocation/{WITH_RETURN}/labels/ZPL")
    assert kinds(response)[1] == ("Return", 200, "ReturnConsignmentAllocated")
    assert await caller.bookings(RETURN) == 1


async def test_a_return_that_fails_does_not_undo_the_way_out(caller: Caller) -> None:
    response = await caller.put(f"/allocation/{WITH_FAILING_RETURN}/labels/ZPL")
    assert kinds(response) == [
        ("Consignment", 200, "ConsignmentAllocated"),
        ("Return", 400, "ReturnConsignmentAllocationFailed"),
    ]
    assert response.json()["Responses"][1]["LabelContent"] is None
    assert await caller.state(WITH_FAILING_RETURN) == "Allocated"
    assert await caller.state(FAILING_RETURN) == "AllocationFailed"


async def test_allocating_with_labels_is_refused_like_any_allocation(caller: Caller) -> None:
    assert (await caller.put(f"/allocation/{UNKNOWN}/labels/PDF")).json()["Code"] == "ConsignmentNotFoundException"
    response = await caller.put("/allocation/EC-SBX-BAD-001/labels/PDF")
    assert (response.status_code, response.json()["Code"]) == (400, "AllocationFailedException")
    assert await caller.state("EC-SBX-BAD-001") == "AllocationFailed"


@pytest.mark.parametrize(("failure", "status"), [("item", 200), ("error", 404)])
async def test_a_label_may_fail_after_the_allocation_and_be_had_later(
    caller: Caller, failure: str, status: int
) -> None:
    await caller.switch(label_failure=failure)
    response = await caller.put(f"/allocation/{PLAIN[0]}/labels/PDF")
    assert response.status_code == status
    if failure == "item":
        (result,) = response.json()["Responses"]
        assert (result["StatusCode"], result["LabelContent"], result["Result"]) == (404, None, "ConsignmentAllocated")
        assert result["CarrierServiceReference"] == "MPD_RMDTPS48HNAUT"
        assert result["Message"] == f"Label not found for consignment reference '{PLAIN[0]}'"
    else:
        assert response.json()["Code"] == "LabelNotFoundException"
    assert await caller.state(PLAIN[0]) == "Allocated"
    check_pdf((await label(caller, PLAIN[0]))[0])
    assert await caller.bookings(PLAIN[0]) == 1


async def test_labels_may_be_missing_altogether(caller: Caller) -> None:
    await caller.switch(labels="missing")
    response = await caller.call("GET", f"/labels/{in_state('Allocated')}")
    assert (response.status_code, response.json()["Code"]) == (404, "LabelNotFoundException")

"""The key of an API in whatever upstream writes, in every way to write it, at every place: it never comes out.

Whether a text holds the key is told by decoders of the standard library, and not by what takes it out.
"""

from __future__ import annotations

import json
import string
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from allocation_gateway.errors import GatewayError
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.table import OPERATIONS
from allocation_gateway.upstream import reply
from allocation_gateway.upstream.http import Answer
from allocation_gateway.upstream.redaction import Redactor
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mapping.consignments import REQUESTS as CONSIGNMENT_REQUESTS
from mapping.table import REQUESTS
from support.secrets import FORMS, everywhere, placed, quotes, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES: Final = Path(__file__).parent.parent / "fixtures"
BY_NAME: Final = {row.name: row for row in OPERATIONS}
ALL_REQUESTS: Final = {**REQUESTS, **CONSIGNMENT_REQUESTS}
# The answers of the fixtures, and whose they are.
GOOD: Final = {
    "AllocateShipmentWithServiceGroup": "ship/service_group",
    "AllocateShipments": "ship/bulk_default_rules",
    "AllocateShipmentsWithFilters": "ship/filters",
    "CreateShipmentQuotes": "ship/quotes",
    "GetShipmentAllocation": "ship/shipment_allocated",
    "DeallocateShipment": "ship/deallocated",
    "AllocateConsignment": "consignments/allocated",
    "AllocateConsignments": "consignments/allocated_bulk",
    "AllocateConsignmentWithLabels": "consignments/labels",
    "GetConsignmentAllocation": "consignments/consignment_failed",
    "GetConsignmentQuotes": "consignments/quotes",
}
ERRORS: Final = {
    Api.SHIP: {
        "correlation_id": "x",
        "code": "validation_error",
        "message": "x",
        "details": [{"property": "shipment_reference", "code": "invalid_format", "message": "x"}],
        "excluded_services": [
            {"carrier": {"reference": "x", "name": "x"}, "exclusion": {"reason": "x", "code": "ex_tag"}},
        ],
    },
    Api.CONSIGNMENTS: {
        "Code": "x",
        "Message": "x",
        "CorrelationId": "x",
        "Details": [{"Code": "x", "Target": "x", "Message": "x"}],
    },
}
WRITINGS: Final = ("plain", "slashes", "escaped")
MANAGED: Final = {"statusCode": 403, "message": "x"}
# What a header may hold, but for white space. Keys are made of the first mostly.
KEYS: Final = st.one_of(
    st.text(string.ascii_letters + string.digits, min_size=8, max_size=40),
    st.text(string.ascii_letters + string.digits + "+/=", min_size=8, max_size=64),
    st.text(string.ascii_letters + string.digits + string.punctuation, min_size=8, max_size=40),
    st.text("+/=&\"\\%;#<>'ab1", min_size=8, max_size=20),
)


def documents() -> Iterator[tuple[str, int, Any]]:
    """Returns rpcs with a status and a document each: good answers, and every shape of an error."""
    for rpc, fixture in GOOD.items():
        yield rpc, 200, json.loads((FIXTURES / f"{fixture}.json").read_text())
        for status in (400, 521):
            yield rpc, status, ERRORS[BY_NAME[rpc].api]
    yield "AllocateConsignment", 403, MANAGED


def written(document: Any, form: str) -> bytes:
    """Writes JSON, with its texts as they are or with every character of them escaped that can be."""
    plain = json.dumps(document)
    if form == "plain":
        return plain.encode()
    if form == "slashes":
        return plain.replace("/", "\\/").encode()
    escaped = {character: f"\\u{ord(character):04x}" for character in "+/&%=<>#;'-_."}
    return "".join(escaped.get(character, character) for character in json.dumps(document)).encode()


@lru_cache
def redactor_of(key: str) -> Redactor:
    """Makes what takes a key out; once, since that takes its time."""
    return Redactor(key)


def told(rpc: str, answer: Answer, key: str) -> Iterator[str]:
    """Returns every text that comes of an answer."""
    operation = BY_NAME[rpc]
    try:
        response = reply.read(operation, ALL_REQUESTS[rpc], redactor_of(key).redacted(answer))
    except GatewayError as error:
        yield error.message
        yield from error.info.values()
        for detail in error.details:
            yield from texts(detail)
        status = error.status()
        yield status.message
        for packed in status.details:
            yield packed.value.decode("utf-8", "replace")
    else:
        yield from texts(response)


INNOCENT: Final = frozenset(
    text
    for rpc, status, document in documents()
    for text in told(rpc, Answer(status, {}, json.dumps(document).encode()), "no key of anybody's")
)


def is_fit(key: str) -> bool:
    """Tells whether a key is not a part of what every answer has anyway."""
    return not any(key in text for text in INNOCENT)


ALL: Final = [pytest.param(rpc, status, document, id=f"{rpc}, {status}") for rpc, status, document in documents()]


@pytest.mark.parametrize(("rpc", "status", "document"), ALL)
@settings(max_examples=10)
@given(key=KEYS, form=st.sampled_from(sorted(FORMS)), writing=st.sampled_from(WRITINGS), place=st.integers(0, 1000))
@example(key='a+b/c=d&e"f\\g', form="plain", writing="escaped", place=0)
@example(key="YWJjZGVmZ2hpamtsbW5vcA==", form="JSON in JSON", writing="slashes", place=1)
@example(key="a%2Bb+c&amp;d\\u002Be", form="percent", writing="plain", place=2)
def test_a_key_never_comes_out_of_an_answer(
    rpc: str, status: int, document: Any, key: str, form: str, writing: str, place: int
) -> None:
    """Of none of its texts, within others and alone."""
    assume(is_fit(key))
    quoted = FORMS[form](key)
    places = list(placed(document, f"It is {quoted}, no?"))
    for changed in (places[place % len(places)], everywhere(document, quoted)):
        for text in set(told(rpc, Answer(status, {}, written(changed, writing)), key)) - INNOCENT:
            assert not quotes(text, key, 2), (changed, text)


@pytest.mark.parametrize("form", FORMS)
def test_every_place_of_every_answer_is_looked_at(form: str) -> None:
    """With one key, in every way to write it."""
    key = "a+key/that=nobody&may<see"
    for rpc, status, document in documents():
        for changed in placed(document, FORMS[form](key)):
            found = "\n".join(set(told(rpc, Answer(status, {}, written(changed, "escaped")), key)) - INNOCENT)
            assert not quotes(found, key, 2), changed


@settings(max_examples=20)
@given(key=KEYS)
def test_an_answer_without_the_key_is_left_as_it_is(key: str) -> None:
    """Byte for byte, and not even made anew."""
    redactor = redactor_of(key)
    for _, status, document in documents():
        for writing in WRITINGS:
            body = written(document, writing)
            if not quotes(body.decode(), key):
                answer = Answer(status, {}, body)
                assert redactor.redacted(answer) is answer


@given(key=KEYS)
def test_numbers_come_through_as_they_were(key: str) -> None:
    """Their exact text, beside a text that holds the key."""
    assume(len(set(key)) > 2)
    body = b'{"net": 12.3450, "much": 1e2, "count": 7, "text": ' + json.dumps(key).encode() + b', "more": [1.10, -0.0]}'
    redacted = Redactor(key).redacted(Answer(200, {}, body)).body
    assert redacted == b'{"net":12.3450,"much":1e2,"count":7,"text":"********","more":[1.10,-0.0]}'


def test_what_cannot_be_parsed_and_quotes_the_key_is_not_read() -> None:
    """A part of it might be read: what reads it may pass over what keeps others from it, as something too deep."""
    key = "a-key-that-nobody-may-see"
    body = b'{"message": "%b", "deep": %b}' % (key.encode(), b"[" * 5_000 + b"]" * 5_000)
    answer = Redactor(key).redacted(Answer(200, {}, body))
    assert (answer.body, answer.problem) == (b"", "the body quotes the gateway's key")
    assert Redactor("another-key").redacted(Answer(200, {}, body)).body == body

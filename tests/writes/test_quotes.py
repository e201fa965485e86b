"""What a quote promised, remembered until it is allocated."""

from __future__ import annotations

from allocation.v1 import consignment_allocation_service_pb2 as consignments
from allocation.v1 import core_pb2
from allocation.v1 import shipment_allocation_service_pb2 as pb
from allocation_gateway.writes import note
from allocation_gateway.writes.note import Terms
from allocation_gateway.writes.quotes import Quotes
from google.type.money_pb2 import Money
from writes.rows import ROWS

PRICE = Money(currency_code="GBP", units=2, nanos=400_000_000)


def quote(reference: str, gross: Money = PRICE) -> core_pb2.Quote:
    found = core_pb2.Quote(reference=reference)
    found.carrier.service_reference = "FF_1"
    found.price.gross.CopyFrom(gross)
    return found


def allocation(reference: str) -> pb.AllocateShipmentWithQuoteRequest:
    return pb.AllocateShipmentWithQuoteRequest(shipment_reference="sp_1", quote_reference=reference)


def test_a_quote_that_was_seen_is_known_by_its_reference() -> None:
    """The last one of a reference counts; whoever names no quote, or an unknown one, has no terms."""
    seen = Quotes()
    seen.remember(
        ROWS["CreateShipmentQuotes"],
        pb.CreateShipmentQuotesResponse(quotes=[quote("a", Money(currency_code="EUR", units=1)), quote("b")]),
    )
    seen.remember(ROWS["CreateShipmentQuotes"], pb.CreateShipmentQuotesResponse(quotes=[quote("a")]))
    assert seen.of(allocation("a")) == seen.of(allocation("b")) == Terms("FF_1", "GBP", 2, 400_000_000)
    assert seen.of(allocation("A")) == seen.of(allocation("a"))
    assert seen.of(allocation("c")) is None
    assert seen.of(pb.AllocateShipmentRequest(shipment_reference="sp_1")) is None


def test_a_quote_of_a_consignment_has_terms_too() -> None:
    seen = Quotes()
    response = consignments.GetConsignmentQuotesResponse()
    found = response.quotes.add(reference="q", carrier_service_reference="CX_NDS")
    found.price.gross.CopyFrom(PRICE)
    seen.remember(ROWS["GetConsignmentQuotes"], response)
    request = consignments.AllocateConsignmentWithQuoteRequest(consignment_reference="EC-1", quote_reference="q")
    assert seen.of(request) == Terms("CX_NDS", "GBP", 2, 400_000_000)


def test_the_oldest_quotes_make_room() -> None:
    seen = Quotes()
    for first in range(0, 10_000, 1_000):
        quotes = [quote(str(number)) for number in range(first, first + 1_000)]
        seen.remember(ROWS["CreateShipmentQuotes"], pb.CreateShipmentQuotesResponse(quotes=quotes))
    assert seen.of(allocation("0")) is not None
    seen.remember(ROWS["CreateShipmentQuotes"], pb.CreateShipmentQuotesResponse(quotes=[quote("10000")]))
    assert seen.of(allocation("0")) is None
    assert seen.of(allocation("1")) is not None


def test_a_price_agrees_to_the_billionth_or_not_at_all() -> None:
    terms = Terms("FF_1", "GBP", 2, 400_000_000)
    assert terms.agrees(PRICE)
    for different in (
        Money(currency_code="EUR", units=2, nanos=400_000_000),
        Money(currency_code="GBP", units=3, nanos=400_000_000),
        Money(currency_code="GBP", units=2, nanos=400_000_001),
    ):
        assert not terms.agrees(different)
    assert Terms("FF_1", "", 0, 0).agrees(PRICE), "a quote without a price promises none"


def test_terms_outlive_their_process_in_a_claim() -> None:
    terms = Terms("FF_1", "GBP", 2, 400_000_000)
    assert note.decode(note.encode(note.Note(terms))) == note.Note(terms)
    assert note.decode(note.encode(note.NOTHING)) == note.NOTHING
    noted = note.Note(terms, {"sp_1": "", "sp_2": "17.5"}, "a trace")
    assert note.decode(note.encode(noted)) == noted


def test_what_a_later_release_notes_besides_is_passed_over() -> None:
    assert note.decode(b'{"before":{"sp_1":""},"colour":"red"}') == note.Note(before={"sp_1": ""})


def test_the_terms_that_an_earlier_release_kept_are_read() -> None:
    assert note.decode(b'["FF_1","GBP",2,400000000]') == note.Note(Terms("FF_1", "GBP", 2, 400_000_000))

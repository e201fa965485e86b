"""What exists when the sandbox starts. docs/sandbox-consignments.md lists it for people; a test keeps the two alike.

The names and numbers of the documented examples are upstream's; whatever starts with `SBX_` or `EC-SBX` is the
sandbox's own, to show a behaviour that the examples do not.

It is longer than the other modules since most of it is data.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.consignments import states
from allocation_gateway.sandbox.consignments.booking import book
from allocation_gateway.sandbox.consignments.catalogue import Allowed, Carrier, Group, Service
from allocation_gateway.sandbox.consignments.consignments import Consignment, Details, Quotation, Quote
from allocation_gateway.sandbox.consignments.creation import read_consignment
from allocation_gateway.sandbox.consignments.eligibility import assess

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.sandbox.consignments.world import World

CREATED = datetime(2019, 6, 14, 9, 30, 15, 123456, tzinfo=UTC)

QUOTED = "EC-000-05B-N40"
QUOTE = "112236d5-4460-492f-a6bd-aa3f00f62dfb"
QUOTE_REQUEST = "0f7dcb4e-4d0d-4d5b-8d54-aa3f00f62dfb"
EXPIRED_QUOTE = "112236d5-4460-492f-a6bd-000000000001"
EXPIRED_QUOTE_REQUEST = "0f7dcb4e-4d0d-4d5b-8d54-000000000001"
GROUPED = "EC-000-05B-MMA"
PLAIN_EXAMPLES = (GROUPED, "EC-000-083-45D", "EC-000-A04-0DV")
ALLOCATED_EXAMPLES = ("EC-000-05D-EP2", "EC-000-05D-ENQ", "EC-000-05D-ENG")

UPS_STANDARD = "EDC5_UPSHSTDCS"

# So that the documented example can be allocated whenever the sandbox runs.
FAR_AWAY = datetime(2999, 12, 31, 17, tzinfo=UTC)


def numbered(number: int) -> str:
    """The reference of one of the consignments that the start-up option adds, counted from 1."""
    digits = f"{number:08d}"
    return f"EC-1{digits[:2]}-{digits[2:5]}-{digits[5:]}"


def in_state(state: str) -> str:
    """The reference of the example that begins in a state: it ends with upstream's number of the state."""
    return f"EC-SBX-STA-T{states.NUMBERS[state]:02d}"


CARRIERS = (
    Carrier(reference="UPS", name="UPS"),
    Carrier(reference="ROYAL_MAIL", name="Royal Mail"),
    Carrier(reference="CARRIER_X", name="Carrier X"),
    Carrier(reference="MPD_DPD", name="DPD"),
    Carrier(reference="SBX_CARRIER", name="Example Carrier"),
    Carrier(reference="SBX_LAST_MILE", name="Example Last Mile"),
)

# What no service of the seed takes: each rule can so be seen to fail an allocation.
RULES: dict[str, Any] = {
    "weight_kg": Allowed(at_most=Decimal(1000)),
    "girth_cm": Allowed(at_most=Decimal(600)),
    "length_cm": Allowed(at_most=Decimal(400)),
    "max_value": Decimal(50_000),
    "excluded_postcodes": ("ZE",),
    "excluded_countries": ("KP",),
    "excluded_zips": ("962-966",),
}

SERVICES = (
    Service(
        reference=UPS_STANDARD,
        name="UPS STANDARD (Delivery Confirmation Signature Required)",
        carrier="UPS",
        net=Decimal("27.69"),
        transit_days=2,
        **RULES,
    ),
    Service(
        reference="MPD_RMDTPS48HNAUT",
        name="Royal Mail Tracked 48",
        carrier="ROYAL_MAIL",
        # Four decimals, and as a binary fraction none of them exact.
        net=Decimal("3.1042"),
        transit_days=2,
        countries=("GB",),
        **{**RULES, "weight_kg": Allowed(at_most=Decimal(20)), "max_value": Decimal(50)},
    ),
    Service(
        reference="CX_NDS",
        name="Carrier X Next Day Super",
        carrier="CARRIER_X",
        net=Decimal("5.9900"),
        countries=("GB",),
        **{**RULES, "weight_kg": Allowed(at_most=Decimal(30)), "length_cm": Allowed(at_most=Decimal(120))},
    ),
    # At one price with the service above: it loses by the later delivery alone.
    Service(
        reference="CX_TDS",
        name="Carrier X Two Day Super",
        carrier="CARRIER_X",
        net=Decimal("5.9900"),
        transit_days=2,
        countries=("GB",),
        **{**RULES, "weight_kg": Allowed(at_most=Decimal(30)), "length_cm": Allowed(at_most=Decimal(120))},
    ),
    Service(
        reference="SBX_ALCOHOL",
        name="Example Spirits",
        carrier="SBX_CARRIER",
        net=Decimal("31.50"),
        tags=("Alcohol",),
        **RULES,
    ),
    Service(
        reference="SBX_FLAMMABLES",
        name="Example Flammables",
        carrier="SBX_CARRIER",
        net=Decimal("32.50"),
        tags=("Flammables",),
        **RULES,
    ),
    Service(
        reference="SBX_BOTH",
        name="Example Flammable Spirits",
        carrier="SBX_CARRIER",
        net=Decimal("33.50"),
        tags=("Alcohol", "Flammables"),
        **RULES,
    ),
    Service(
        reference="SBX_TWO_LEGS",
        name="Example International",
        carrier="SBX_CARRIER",
        net=Decimal("48.12345"),
        tax_rate=Decimal("0.0000"),
        legs=("SBX_CARRIER", "SBX_LAST_MILE"),
        transit_days=5,
        **RULES,
    ),
    Service(
        reference="SBX_RETURN",
        name="Example Return Drop Off",
        carrier="SBX_CARRIER",
        net=Decimal("2.4500"),
        directions=("Inbound",),
        drop_off=True,
        **RULES,
    ),
    Service(
        reference="SBX_COLLECT",
        name="Example Pick Up Point",
        carrier="MPD_DPD",
        net=Decimal("29.9500"),
        directions=("Outbound", "Inbound"),
        pickup=True,
        **RULES,
    ),
    Service(
        reference="SBX_REFUSING",
        name="Example Refusing",
        carrier="SBX_CARRIER",
        net=Decimal("99.00"),
        refuses=True,
        **RULES,
    ),
    Service(reference="SBX_UNPRICED", name="Example Unpriced", carrier="SBX_CARRIER", net=None),
    Service(
        reference="SBX_UNAVAILABLE",
        name="Example Unavailable",
        carrier="SBX_CARRIER",
        net=Decimal("0.01"),
        available=False,
    ),
    Service(
        reference="SBX_DISABLED", name="Example Disabled", carrier="SBX_CARRIER", net=Decimal("0.01"), enabled=False
    ),
)

GROUPS = (
    Group(code="valuableGoods", name="Valuable Goods", services=(UPS_STANDARD, "SBX_TWO_LEGS")),
    Group(code="SGREF01", name="Service Group 1", services=("CX_NDS", "CX_TDS", "MPD_RMDTPS48HNAUT")),
    Group(code="SBX_TAGGED", name="Tagged", services=("SBX_ALCOHOL", "SBX_FLAMMABLES", "SBX_BOTH")),
    Group(code="SBX_REFUSED", name="Refused By The Courier", services=("SBX_REFUSING",)),
    Group(code="SBX_EMPTY", name="Without Services", services=()),
    # A code that has to be percent-encoded in a path.
    Group(code="Größe / 50% & mehr", name="Size", services=("CX_NDS",)),
)


def _address(kind: str, **members: Any) -> dict[str, Any]:
    return {
        "AddressType": kind,
        "Contact": {"FirstName": "Ada", "LastName": "Example", "Email": "ada@example.com"},
        **members,
    }


def _destination(country: str, postcode: str) -> dict[str, Any]:
    return _address(
        "Destination",
        AddressLine1="2 Example Street",
        Town="Exampleton",
        Postcode=postcode,
        Country={"Name": country, "IsoCode": {"TwoLetterCode": country}},
    )


def _details(
    *,
    weight: str = "0.5",
    sides: tuple[int, int, int] = (10, 20, 30),
    value: str = "5.99",
    country: str = "GB",
    postcode: str = "M2 6LW",
    **members: Any,
) -> Details:
    width, height, length = sides
    return read_consignment(
        {
            "Packages": [
                {
                    "Description": "Example contents",
                    "Weight": {"Value": Decimal(weight), "Unit": "Kg"},
                    "Dimensions": {"Unit": "Cm", "Width": width, "Length": length, "Height": height},
                    "Value": {"Amount": Decimal(value), "Currency": {"Name": "Pound Sterling", "IsoCode": "GBP"}},
                }
            ],
            "Addresses": [
                _address("Origin", ShippingLocationReference="EDC5_Electio"),
                _destination(country, postcode),
            ],
            **members,
        }
    )


PLAIN = _details()
SHIPPED_THEN: dict[str, Any] = {"ShippingDate": "2019-06-18T00:00:00+00:00"}
DATED = _details(**SHIPPED_THEN)
INBOUND = _details(Direction="Inbound")

# One for each rule that can fail an allocation, by what it fails for.
FAILING: dict[str, tuple[str, Details]] = {
    "tags": ("EC-SBX-BAD-001", _details(Tags=["Alcohol", "Flammables", "Oil"])),
    "weight": ("EC-SBX-BAD-002", _details(weight="1000.5")),
    "girth": ("EC-SBX-BAD-003", _details(sides=(160, 160, 200))),
    "length": ("EC-SBX-BAD-004", _details(sides=(1, 1, 401))),
    "value": ("EC-SBX-BAD-005", _details(value="50000.01")),
    "postcode": ("EC-SBX-BAD-006", _details(postcode="ZE1 0AA")),
    "country": ("EC-SBX-BAD-007", _details(country="KP", postcode="")),
    "ZIP": ("EC-SBX-BAD-008", _details(country="US", postcode="96412")),
    "required date": (
        "EC-SBX-BAD-009",
        _details(**SHIPPED_THEN, RequiredDeliveryDate={"Date": "2019-06-18T00:00:00Z"}),
    ),
    "exact date": (
        "EC-SBX-BAD-010",
        _details(
            **SHIPPED_THEN,
            RequiredDeliveryDate={"Date": "2019-06-28T00:00:00Z", "IsToBeExactlyOnTheDateSpecified": True},
        ),
    ),
}

TAGGED = (
    ("EC-SBX-TAG-001", ["Alcohol"]),
    ("EC-SBX-TAG-002", ["Flammables"]),
    ("EC-SBX-TAG-003", ["Alcohol", "Flammables"]),
)

WITH_RETURN, RETURN = "EC-SBX-RTN-001", "EC-SBX-RTN-002"
WITH_FAILING_RETURN, FAILING_RETURN = "EC-SBX-RTN-003", "EC-SBX-RTN-004"
ABROAD = "EC-SBX-INT-001"
# The consignment that the expired quote belongs to.
EXPIRED_QUOTED = "EC-SBX-QUO-001"


def seed(extra_consignments: int) -> Callable[[World], None]:
    """What fills a world: the examples, and so many plain consignments that most services can take."""

    def fill(world: World) -> None:
        world.put(*CARRIERS, *SERVICES, *GROUPS)
        _add_examples(world)
        _add_states(world)
        _add_quotes(world)
        for number in range(1, extra_consignments + 1):
            world.add(Consignment(numbered(number), PLAIN, CREATED))

    return fill


def _add_examples(world: World) -> None:
    world.add(Consignment(QUOTED, DATED, CREATED))
    for reference in PLAIN_EXAMPLES:
        world.add(Consignment(reference, PLAIN, CREATED))
    for reference in ALLOCATED_EXAMPLES:
        _add_booked(world, reference, states.ALLOCATED)
    for reference, details in FAILING.values():
        world.add(Consignment(reference, details, CREATED))
    for reference, tags in TAGGED:
        world.add(Consignment(reference, _details(Tags=tags), CREATED))
    world.add(Consignment(WITH_RETURN, PLAIN, CREATED, return_reference=RETURN))
    world.add(Consignment(RETURN, INBOUND, CREATED))
    world.add(Consignment(WITH_FAILING_RETURN, PLAIN, CREATED, return_reference=FAILING_RETURN))
    world.add(Consignment(FAILING_RETURN, _details(Direction="Inbound", weight="2000"), CREATED))
    world.add(Consignment(ABROAD, _details(country="IE", postcode="D02 X285"), CREATED))
    world.add(Consignment(EXPIRED_QUOTED, DATED, CREATED))


def _add_states(world: World) -> None:
    for state in states.NUMBERS:
        if state in states.UNBOOKED:
            world.add(Consignment(in_state(state), DATED, CREATED, initial_state=state))
        else:
            _add_booked(world, in_state(state), state)


def _add_booked(world: World, reference: str, state: str) -> None:
    consignment = Consignment(reference, DATED, CREATED, initial_state=state)
    offers, _ = assess(DATED, (world.services[UPS_STANDARD],), CREATED)
    consignment.initial_allocation = book(consignment, offers[0], world.carriers, CREATED)
    consignment.restore()
    world.add(consignment)


def _add_quotes(world: World) -> None:
    for reference, request, quoted, expires in (
        (QUOTE, QUOTE_REQUEST, QUOTED, FAR_AWAY),
        (EXPIRED_QUOTE, EXPIRED_QUOTE_REQUEST, EXPIRED_QUOTED, CREATED),
    ):
        offers, unqualified = assess(DATED, (world.services[UPS_STANDARD],), CREATED)
        offer = offers[0]
        quote = Quote(
            reference=reference,
            consignment_reference=quoted,
            service_reference=offer.service.reference,
            service_name=offer.service.name,
            carrier_reference=offer.service.carrier,
            carrier_name=world.carriers[offer.service.carrier].name,
            price=offer.price,
            shipping=offer.shipping,
            earliest=offer.earliest,
            latest=offer.latest,
            created=CREATED,
            expires=expires,
        )
        world.keep(Quotation(request, quoted, DATED, (quote,), tuple(unqualified)))

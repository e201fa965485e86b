"""What exists when the sandbox starts. docs/sandbox.md lists it for people; a test keeps the two alike.

The names and numbers of the documented examples are upstream's; whatever starts with `SBX_` or `sp_9` is the sandbox's
own, to show a behaviour that the examples do not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from allocation_gateway.sandbox.ship import states
from allocation_gateway.sandbox.ship.catalogue import Carrier, Days, Group, PriceOption, Service, Within
from allocation_gateway.sandbox.ship.shipments import Details, Shipment, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocation_gateway.sandbox.ship.world import World

# The host in the links of the documented example, which is not the host the request was sent to.
LINKS_BASE_URL = "https://api-int.sorted.com/pro"

CREATED = datetime(2020, 10, 6, 8, 40, 16, 436208, tzinfo=UTC)

GOLDEN_SHIPMENT = "sp_00794403010635468411384028069888"
GOLDEN_TRACKING = "43765709"
DEFAULT_RULES_SHIPMENT = "sp_01017652898121961272041674506240"
BULK_SHIPMENTS = (
    "sp_00794407328944469090495223169024",
    "sp_00794407551522883083874672967680",
    "sp_00794407763918694348566450274304",
)


def own(number: int) -> str:
    """The reference of one of the sandbox's own examples."""
    return f"sp_9{number:031d}"


def numbered(number: int) -> str:
    """The reference of one of the shipments that the start-up option adds, counted from 1."""
    return f"sp_{number:032d}"


CARRIERS = (
    Carrier(reference="FF_LINET", name="Lineten"),
    Carrier(reference="FF_103384_DPD", name="DPD"),
    Carrier(reference="FF_103386_DPD", name="DPD"),
    Carrier(reference="SBX_HAZ", name="Hazmat Haulage"),
    Carrier(reference="SBX_BAW", name="Bawtry Premium"),
)

DPD_LIMITS: dict[str, Any] = {
    "shipment_types": ("scheduled", "on_demand"),
    "countries": ("GB",),
    "max_weight_kg": Decimal(30),
    "max_dimensions_cm": (Decimal(120), Decimal(80), Decimal(60)),
}

SERVICES = (
    Service(
        reference="FF_LINET-00001",
        name="Lineten - Standard On Demand",
        carrier="FF_LINET",
        # The dearer option is there so that the cheapest within the service has to be found.
        prices=(PriceOption(net=Decimal("3.50")), PriceOption(net=Decimal("2.00"), up_to_kg=Decimal(10))),
        delivery=Within(hours=4),
        shipment_types=("on_demand",),
        countries=("GB",),
        max_weight_kg=Decimal(20),
        proof_of_delivery="offered",
    ),
    Service(
        reference="FF_DPD_1200_103384",
        name="DPD 12:00 (Parcel)",
        carrier="FF_103384_DPD",
        prices=(PriceOption(net=Decimal("5.40")),),
        delivery=Days(days=1, not_after="12:00"),
        tags=("fragile",),
        proof_of_delivery="required",
        **DPD_LIMITS,
    ),
    Service(
        reference="FF_DPD_Next_Day_103386",
        name="DPD Next Day (Parcel)",
        carrier="FF_103386_DPD",
        prices=(PriceOption(net=Decimal("2.00")),),
        delivery=Days(days=1),
        tags=("fragile",),
        proof_of_delivery="offered",
        **DPD_LIMITS,
    ),
    Service(
        reference="FF_DPD_Sunday_103386",
        name="DPD Sunday (Parcel)",
        carrier="FF_103386_DPD",
        prices=(PriceOption(net=Decimal("6.75")),),
        delivery=Days(days=1, delivers_on=(6,)),
        **DPD_LIMITS,
    ),
    Service(
        reference="FF_DPD_Two_Day_103386",
        name="DPD Two Day (Parcel)",
        carrier="FF_103386_DPD",
        prices=(PriceOption(net=Decimal("2.00")),),
        delivery=Days(days=2),
        **DPD_LIMITS,
    ),
    Service(
        reference="SBX_HAZ_ROAD",
        name="Hazmat Road",
        carrier="SBX_HAZ",
        prices=(PriceOption(net=Decimal("18.50"), tax_type="Standard", tax_rate=Decimal("0.2000")),),
        delivery=Days(days=3),
        tags=("dangerous",),
        countries=("GB", "IE"),
        hazard_classes=("3", "8"),
        proof_of_delivery="required",
    ),
    Service(
        reference="SBX_HAZ_AIR",
        name="Hazmat Air",
        carrier="SBX_HAZ",
        prices=(PriceOption(net=Decimal("64.00"), tax_type="Standard", tax_rate=Decimal("0.2000")),),
        delivery=Days(days=1),
        tags=("dangerous", "air"),
        hazard_classes=("3",),
        max_weight_kg=Decimal(50),
        proof_of_delivery="required",
    ),
    Service(
        reference="BAW_PREM_01",
        name="Bawtry Premium",
        carrier="SBX_BAW",
        prices=(PriceOption(net=Decimal("9.99"), tax_type="Standard", tax_rate=Decimal("0.2000")),),
        delivery=Days(days=1, not_after="10:30"),
        directions=("outbound", "inbound"),
        pickup=False,
        max_value=Decimal(1000),
        max_weight_kg=Decimal(30),
    ),
    Service(
        reference="SBX_RETIRED",
        name="Bawtry Retired",
        carrier="SBX_BAW",
        prices=(PriceOption(net=Decimal("0.01")),),
        delivery=Days(days=1),
        shipment_types=("scheduled", "on_demand"),
        enabled=False,
    ),
)

GROUPS = (
    Group(
        code="valuableGoods",
        services=(
            "FF_LINET-00001",
            "FF_DPD_1200_103384",
            "FF_DPD_Next_Day_103386",
            "FF_DPD_Sunday_103386",
            "FF_DPD_Two_Day_103386",
        ),
    ),
    Group(code="exampleSG123", services=("FF_DPD_Next_Day_103386", "FF_DPD_Two_Day_103386")),
    Group(code="dangerousGoods", services=("SBX_HAZ_ROAD", "SBX_HAZ_AIR")),
    # A code that is a service's reference too: ambiguous as a virtual service.
    Group(code="BAW_PREM_01", services=("BAW_PREM_01", "FF_DPD_1200_103384")),
    # A code that has to be percent-encoded in a path.
    Group(code="Größe / 50% & mehr", services=("FF_DPD_Next_Day_103386",)),
)


def _address(kind: str, country: str) -> dict[str, Any]:
    return {
        "address_type": kind,
        "address_line1": "1 Example Street",
        "postal_code": "M3 3HF",
        "country_iso_code": country,
        "contact": {
            "first_name": "Ada",
            "last_name": "Example",
            "contact_details": {"email": "ada@example.com", "mobile": "07700900000"},
        },
    }


def _details(
    types: tuple[str, ...],
    *,
    weight: str = "1.50",
    country: str = "GB",
    tags: tuple[str, ...] = (),
    hazard_classes: tuple[str, ...] = (),
    required_delivery: Window = Window(),  # noqa: B008 -- immutable
) -> Details:
    content: dict[str, Any] = {
        "description": "Example contents",
        "quantity": 1,
        "value": {"amount": Decimal("25.00"), "currency": "GBP"},
        "weight": {"value": Decimal(weight), "unit": "Kg"},
        "dimensions": {"length": 30, "width": 20, "height": 10, "unit": "Cm"},
    }
    if hazard_classes:
        content["dangerous_goods"] = {"hazard_classes": [{"code": code} for code in hazard_classes]}
    return Details(
        document={
            "custom_reference": None,
            "source": "api",
            "addresses": [_address("Origin", "GB"), _address("Destination", country)],
            "contents": [content],
        },
        shipment_types=types,
        direction="outbound",
        tags=tags,
        country=country,
        weight_kg=Decimal(weight),
        dimensions_cm=(Decimal(30), Decimal(20), Decimal(10)),
        value=Decimal("25.00"),
        hazard_classes=hazard_classes,
        required_delivery=required_delivery,
    )


SCHEDULED, ON_DEMAND, EITHER = ("scheduled",), ("on_demand",), ("scheduled", "on_demand")

PLAIN = _details(SCHEDULED)
FLEXIBLE = _details(EITHER)

SHIPMENTS: tuple[tuple[str, Details], ...] = (
    (GOLDEN_SHIPMENT, _details(ON_DEMAND)),
    (DEFAULT_RULES_SHIPMENT, PLAIN),
    *((reference, PLAIN) for reference in BULK_SHIPMENTS),
    (own(1), _details(ON_DEMAND)),
    (own(2), _details(ON_DEMAND)),
    (own(3), _details(SCHEDULED, tags=("fragile",))),
    (own(4), _details(SCHEDULED, tags=("dangerous",), hazard_classes=("3",))),
    (own(5), _details(SCHEDULED, tags=("dangerous",), hazard_classes=("7",))),
    (own(6), _details(SCHEDULED, weight="500.00")),
    (own(7), _details(SCHEDULED, required_delivery=Window(CREATED, CREATED))),
    (own(8), _details(SCHEDULED, country="US")),
)
CANCELLED_SHIPMENT = own(9)


def seed(extra_shipments: int) -> Callable[[World], None]:
    """What fills a world: the examples, and so many plain shipments that any group's services can take."""

    def fill(world: World) -> None:
        world.put(*CARRIERS, *SERVICES, *GROUPS)
        for reference, details in SHIPMENTS:
            world.add_shipment(
                Shipment(
                    reference,
                    details,
                    CREATED,
                    first_tracking=GOLDEN_TRACKING if reference == GOLDEN_SHIPMENT else None,
                )
            )
        world.add_shipment(Shipment(CANCELLED_SHIPMENT, PLAIN, CREATED, initial_state=states.CANCELLED))
        for number in range(1, extra_shipments + 1):
            world.add_shipment(Shipment(numbered(number), FLEXIBLE, CREATED))

    return fill

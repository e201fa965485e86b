"""Shipping locations: an address given by such a reference alone is filled in on reading.

Upstream keeps them in its user interface; these two are named in its examples, and their addresses are the sandbox's
own.
"""

from __future__ import annotations

from typing import Any


def _address(name: str, line: str, postcode: str) -> dict[str, Any]:
    return {
        "CompanyName": name,
        "AddressLine1": line,
        "Town": "Manchester",
        "Region": "Greater Manchester",
        "Postcode": postcode,
        "Country": {"Name": "Great Britain", "IsoCode": {"TwoLetterCode": "GB"}},
    }


LOCATIONS = {
    "Sorted1": _address("Example Warehouse", "1 Example Street", "M3 3HF"),
    "EDC5_Electio": _address("Example Depot", "5 Example Road", "M2 6LW"),
}

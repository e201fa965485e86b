"""How the switches colour every document alike: letter case, nulls, members and values nobody has documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.sandbox.ship.switches import ShipSwitches

UNKNOWN_STATE = "teleported"
UNKNOWN_EXCLUSION = "ex_unheard_of"
EXTRA = {"x_unheard_of": {"nested": [1, "two", None, {"deep": True}]}}


def spoken(document: Any, switches: ShipSwitches) -> Any:
    """The document as upstream would send it under these switches."""
    if isinstance(document, dict):
        return _object(document, switches)
    if isinstance(document, list | tuple):
        return [spoken(item, switches) for item in document]
    return document


def _object(document: Mapping[str, Any], switches: ShipSwitches) -> dict[str, Any]:
    nulls = switches.nulls == "present"
    members = {}
    for name, value in document.items():
        # Most members are plain values, and most time is saved by not calling anything for them.
        if isinstance(value, dict | list | tuple):
            members[name] = spoken(value, switches)
        elif name == "state" and isinstance(value, str):
            members[name] = _state(value, switches)
        elif value is not None or nulls:
            members[name] = value
    if switches.unknown_enums and isinstance(members.get("exclusion"), dict):
        members["exclusion"]["code"] = UNKNOWN_EXCLUSION
    return {**members, **EXTRA} if switches.extra_fields else members


def _state(state: str, switches: ShipSwitches) -> str:
    text = UNKNOWN_STATE if switches.unknown_enums else state
    if switches.state_case == "lower":
        return text
    return text.title() if switches.state_case == "title" else text.title().replace("_", "")

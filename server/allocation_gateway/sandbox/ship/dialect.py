"""How the switches colour every document alike: letter case, nulls, members and values nobody has documented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allocation_gateway.sandbox.ship.switches import ShipSwitches

UNKNOWN_STATE = "teleported"
UNKNOWN_EXCLUSION = "ex_unheard_of"
EXTRA = {"x_unheard_of": {"nested": [1, "two", None, {"deep": True}]}}


def spoken(document: Any, switches: ShipSwitches) -> Any:
    """The document as upstream would send it under these switches."""
    if isinstance(document, dict):
        members = {
            name: spoken(_value(name, value, switches), switches)
            for name, value in document.items()
            if value is not None or switches.nulls == "present"
        }
        return {**members, **EXTRA} if switches.extra_fields else members
    if isinstance(document, list | tuple):
        return [spoken(item, switches) for item in document]
    return document


def _value(name: str, value: object, switches: ShipSwitches) -> object:
    if name == "state" and isinstance(value, str):
        text = UNKNOWN_STATE if switches.unknown_enums else value
        return text.title() if switches.state_case == "title" else text
    if name == "exclusion" and switches.unknown_enums and isinstance(value, dict):
        return {**value, "code": UNKNOWN_EXCLUSION}
    return value

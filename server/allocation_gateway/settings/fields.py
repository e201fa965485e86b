"""Every setting by its name, whichever class it stands in.

A setting is named like its field; one of an API has the API's name before it, as in `ship_timeout`. So it stands in the
TOML file, and in capitals after ALLOCATION_GATEWAY_ in the environment.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_type_hints

import msgspec

from allocation_gateway.settings.api import ApiSettings
from allocation_gateway.settings.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# In the tables of settings, what an API alone has stands after this one of those that every API has.
_OWN_AFTER: Final = "disabled_operations"


class SettingField(NamedTuple):
    """A setting.

    Attributes:
        api: The API that it is of; empty for one of the gateway as a whole.
        attribute: The name of its field.
        hint: Its type.
        default: What it is if it is not set.
        description: What it is, as a sentence.
    """

    api: str
    attribute: str
    hint: Any
    default: Any
    description: str


def _fields() -> Iterator[tuple[str, SettingField]]:
    defaults = Settings()
    hints = get_type_hints(Settings, include_extras=True)
    for name in Settings.__struct_fields__:
        part = getattr(defaults, name)
        if not isinstance(part, ApiSettings):
            if not hasattr(hints[name], "__metadata__"):
                continue  # no setting: nobody has described it
            yield name, SettingField("", name, hints[name], part, _description(hints[name]))
            continue
        of_api = get_type_hints(type(part), include_extras=True)
        for attribute in _in_order(part):
            text = _description(of_api[attribute]).format(prefix=name.upper(), **part.WORDS._asdict())
            yield (
                f"{name}_{attribute}",
                SettingField(name, attribute, of_api[attribute], getattr(part, attribute), text),
            )


def _in_order(part: ApiSettings) -> Iterator[str]:
    shared = ApiSettings.__struct_fields__
    for name in shared:
        yield name
        if name == _OWN_AFTER:
            yield from (own for own in part.__struct_fields__ if own not in shared)


def _description(hint: Any) -> str:
    metas = (meta for meta in hint.__metadata__ if isinstance(meta, msgspec.Meta))
    return " ".join(meta.description for meta in metas if meta.description)


FIELDS: Final[Mapping[str, SettingField]] = MappingProxyType(dict(_fields()))
"""The settings by their names, in the order in which they are documented."""
API_NAMES: Final = tuple(dict.fromkeys(field.api for field in FIELDS.values() if field.api))

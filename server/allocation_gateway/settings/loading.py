"""Reads the settings from the environment and the TOML file. The environment wins over the file.

What is read has the right types, and is not checked further: see checks.py.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from allocation_gateway.settings import wording
from allocation_gateway.settings.fields import FIELDS
from allocation_gateway.settings.names import PREFIX, variable
from allocation_gateway.settings.schema import Settings
from allocation_gateway.settings.types import ConfigurationError, from_text

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_FILE: Final = "config_file"


def load(environ: Mapping[str, str], *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads the settings.

    Args:
        environ: The process's environment.
        overrides: Settings by their names that the command line decides. They win over everything.

    Raises:
        ConfigurationError: A setting is unknown or malformed.
    """
    given = {name[len(PREFIX) :].lower(): text for name, text in environ.items() if name.startswith(PREFIX)}
    values = _from_file(given.pop(CONFIG_FILE, ""))
    for name, text in given.items():
        values[name] = convert(name, _split(name, text), variable(name), text)
    values.update(overrides or {})
    return _nested(values)


def _nested(values: Mapping[str, Any]) -> Settings:
    """Puts values by the names of their settings into the classes that have them."""
    of_gateway: dict[str, Any] = {}
    of_apis: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        field = FIELDS[name]
        (of_apis.setdefault(field.api, {}) if field.api else of_gateway)[field.attribute] = value
    defaults = Settings()
    parts = {api: msgspec.structs.replace(defaults.api(api), **changes) for api, changes in of_apis.items()}
    return msgspec.structs.replace(defaults, **of_gateway, **parts)


def _from_file(path: str) -> dict[str, Any]:
    if not path:
        return {}
    where = variable(CONFIG_FILE)
    try:
        with Path(path).open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{where}: cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: {path} is not valid TOML: {error}") from error
    return {name: convert(name, value, f"{name} in {path}") for name, value in content.items()}


def _split(name: str, text: str) -> object:
    """Turns the text of an environment variable into a list or table where its setting is one."""
    if name not in FIELDS:
        return text
    default = FIELDS[name].default
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, tuple):
        return parts
    if isinstance(default, dict):
        pairs = [part.partition("=") for part in parts]
        if not all(separator for _, separator, _ in pairs):
            told = wording.sentence(FIELDS[name].hint, text, is_from_text=True)
            raise ConfigurationError(f"{variable(name)}: {told}")
        return {key.strip(): value.strip() for key, _, value in pairs}
    if isinstance(default, bool):
        return text.strip().lower() or None
    return text or None


def convert(name: str, value: object, where: str, text: str | None = None) -> Any:
    """Makes a setting of what was given: of a text of the environment if there is one, and else of a TOML file.

    Raises:
        ConfigurationError: There is no such setting, or it cannot be this.
    """
    field = FIELDS.get(name)
    if field is None:
        raise ConfigurationError(f"{where}: there is no such setting")
    if value is None:
        return field.default
    try:
        return msgspec.convert(value, field.hint, strict=False, dec_hook=from_text)
    except msgspec.ValidationError:
        given = value if text is None else text
        told = wording.sentence(field.hint, given, is_from_text=text is not None)
        raise ConfigurationError(f"{where}: {told}") from None

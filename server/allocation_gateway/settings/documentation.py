"""The settings as a table for people."""

from __future__ import annotations

from allocation_gateway.settings.fields import FIELDS
from allocation_gateway.settings.loading import CONFIG_FILE
from allocation_gateway.settings.types import Secret


def markdown() -> str:
    """Returns the documentation of every setting as a Markdown table."""
    lines = ["| setting | default | what it is |", "|---|---|---|"]
    for name, field in FIELDS.items():
        lines.append(f"| `{name.upper()}` | {_shown(field.default)} | {field.description} |")
    lines.append(f"| `{CONFIG_FILE.upper()}` |  | A TOML file with settings, by their names in small letters. |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None or value == () or value == {} or isinstance(value, Secret):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"

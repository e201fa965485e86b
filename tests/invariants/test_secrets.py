"""Each secret can be in a file, or the documentation says why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

from allocation_gateway.settings import FIELDS, Secret, server_url_options
from allocation_gateway.telemetry import variables

GUIDE: Final = Path(__file__).resolve().parents[2] / "docs" / "security.md"
HEADING: Final = "### Every secret and its file"
# Those are URLs with a password in them, which the options of the URL name a file for.
URLS: Final = {"CACHE_URL": "password_file", "STORE_URL": "password_file"}


def rows() -> list[tuple[set[str], str]]:
    """Returns the rows of the table: the names of secrets, and what is said of their file."""
    table = GUIDE.read_text().partition(f"\n{HEADING}\n")[2].partition("|---|---|\n")[2].partition("\n\n")[0]
    cells = [row.strip("|").split("|") for row in table.splitlines()]
    return [(set(re.findall(r"`(\w+)`", secrets)), files.strip()) for secrets, files in cells]


def settings() -> set[str]:
    return {name.upper() for name, field in FIELDS.items() if Secret in (field.hint, *get_args(field.hint))}


def test_each_secret_has_a_file_or_a_reason_why_not() -> None:
    options = {name for name in server_url_options._OPTIONS if name.endswith("password")}
    headers = {name for name in variables.RULES if name.endswith("HEADERS")}
    assert len(settings()) >= 4
    assert options
    assert headers
    said = {name: files for names, files in rows() for name in names}
    for secret in settings() | options | headers:
        assert secret in said, f"{secret} is missing in the table of {GUIDE.name}"
        if said[secret].startswith("none: "):
            continue
        file = URLS.get(secret, f"{secret}_FILE" if secret.isupper() else f"{secret}_file")
        assert f"`{file}`" in said[secret]
        assert file.lower() in FIELDS or file in server_url_options._OPTIONS


def test_no_setting_is_a_secret_without_being_marked_as_one() -> None:
    """What is marked does not show itself: in logs, or when the settings are printed."""
    suspicious = {name.upper() for name in FIELDS if re.search(r"key|password|secret|token|credential", name)}
    marked = settings() | {name for name in suspicious if name.endswith("_FILE")}
    assert suspicious - marked == set()

"""docs/image.md says where the MB of the images are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from image.sizes import measured
from support.container import ROOT

if TYPE_CHECKING:
    from support.container import Image, Podman

pytestmark = pytest.mark.image

TEXT = (ROOT / "docs" / "image.md").read_text()
# What updates of packages may add before the table is made anew: MB, or a part of what it says.
MB = 1.0
PART = 0.1


def told(column: int) -> dict[str, float]:
    """Returns what the table says of an image."""
    table = TEXT.partition("\n## Size\n")[2].partition("|---|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    return {row[0]: float(row[column]) for row in rows if row[column]}


def test_the_table_of_sizes_is_what_is_there(podman: Podman, image: Image, sandbox_image: Image) -> None:
    measurements = []
    for one in (image, sandbox_image):
        with podman.files(one) as root:
            found = measured(root)
        measurements.append({**found, "all": round(sum(found.values()), 1)})
    for column, found in enumerate(measurements, 1):
        stated = told(column)
        assert found.keys() == stated.keys(), measurements
        assert all(abs(found[part] - stated[part]) <= max(MB, PART * stated[part]) for part in found), measurements

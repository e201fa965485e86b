"""Rows of the operation table, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.operations.table import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.operations.model import Operation

ROWS: Final[Mapping[str, Operation]] = {row.name: row for row in OPERATIONS}

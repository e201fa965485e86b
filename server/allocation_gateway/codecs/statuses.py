"""HTTP statuses that mean the same wherever upstream gives them: of an answer, or of a part of one."""

from __future__ import annotations

from typing import Final

REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 409, 410, 429})
"""Nothing was done: upstream's general list of errors has them, as has HTTP. Others may come after it was done."""

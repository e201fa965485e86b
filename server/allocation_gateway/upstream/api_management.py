"""What Azure API Management says in front of either API, such as `{"statusCode": 403, "message": "Out of quota..."}`.

Only its texts tell a quota that is used up from a key that is refused, and how long to wait.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from allocation_gateway.upstream.dialect import text

if TYPE_CHECKING:
    from allocation_gateway.codecs.json import Object

_QUOTA: Final = re.compile(r"\bquota\b", re.IGNORECASE)
_IN_SECONDS: Final = re.compile(r"\btry again in (\d{1,9}) seconds?\b", re.IGNORECASE)
_IN_TIME: Final = re.compile(r"\breplenished in (?:(\d{1,4})\.)?(\d{1,2}):(\d{2}):(\d{2})\b", re.IGNORECASE)
# Its texts are two sentences. What is longer is none of them.
_LONGEST_TEXT: Final = 500


class Managed(NamedTuple):
    """What the API management says.

    Attributes:
        is_quota: Whether the calls of a period are used up.
        retry_after: Seconds that it asks to wait; 0 if it does not.
    """

    is_quota: bool = False
    retry_after: float = 0.0


def managed(source: Object, *, is_own: bool) -> Managed:
    """Reads what the API management says in an error body.

    Args:
        source: The body.
        is_own: Whether only upstream itself can have written it.
    """
    if is_own or source.get("statusCode").__class__ is not int:
        return Managed()
    said = text(source, "message")[:_LONGEST_TEXT]
    return Managed(_QUOTA.search(said) is not None, _wait(said))


def _wait(said: str) -> float:
    if match := _IN_SECONDS.search(said):
        return float(match[1])
    if match := _IN_TIME.search(said):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    return 0.0

"""When two references name the same thing: the only place that decides it.

Neither API documents whether it tells references apart by case. The paths of the Consignments API, of which references
are a part, are spelled in any; Ship's are `sp_` and 32 digits. To take two for one makes one write wait for another at
most; to take one for two could book it twice. So at both APIs a reference is the same in any case of its ASCII letters.
No others are folded: documented references have none, and what Unicode folds differs between its versions.

The same goes for quotes, and for carrier services where what upstream shows is compared with what was asked for: a
difference in case alone must not make an allocation another's. Service groups have names that people give them, and a
rule of their own.

Comparisons and claims alone go by this. Upstream is asked in the caller's spelling.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Final

_TO_SMALL: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_TO_CAPITAL: Final = str.maketrans(ascii_lowercase, ascii_uppercase)


def folded(reference: str) -> str:
    """Returns what all spellings of a reference have in common: it in small letters."""
    # Nearly all are made of ASCII alone, for which this takes a fraction of the time.
    return reference.lower() if reference.isascii() else reference.translate(_TO_SMALL)


def capitalized(reference: str) -> str:
    """Returns what all spellings of a reference have in common: it in capital letters."""
    return reference.upper() if reference.isascii() else reference.translate(_TO_CAPITAL)


def is_same(one: str, other: str) -> bool:
    """Tells whether two references name the same thing."""
    return one == other or folded(one) == folded(other)

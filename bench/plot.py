"""Draws the CPU time per call of every gateway, row by row, as a picture that needs nothing to be shown."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from bench.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Results

_SHOWN: Final = {
    "echo": "#9aa0a6",
    "go": "#00838f",
    "vanguard": "#5e97c9",
    "envoy": "#8e5ea2",
    "naive": "#c9a227",
    "ours": "#c2410c",
    "ours-store": "#e8845c",
}
_WIDTH: Final = 920
_LEFT: Final = 290
_BAR: Final = 13
_GAP: Final = 30
_ROOM: Final = 150
_STYLE: Final = "font: 12px sans-serif; fill: #202124"


def draw(results: Results, rows: Sequence[tuple[str, str]]) -> str:
    """Returns an SVG with one group of bars for each row, on a scale of its own: ratios matter, not microseconds.

    Args:
        results: What was measured.
        rows: The key and the title of each row to draw.
    """
    parts: list[str] = []
    top = 10
    for key, title in rows:
        bars = [(name, found.middle) for name in _SHOWN if (found := results.cpu(key, name))]
        if not bars:
            continue
        top += _GAP - 8
        parts.append(f'<text x="8" y="{top}" style="{_STYLE}; font-weight: bold">{escape(title)}</text>')
        longest = max(value for _, value in bars)
        go = dict(bars).get("go")
        top += 6
        for name, value in bars:
            length = value / longest * (_WIDTH - _LEFT - _ROOM)
            told = f"{value:,.0f} us" + (f", {value / go:.2f} times Go" if go else "")
            parts.append(
                f'<text x="{_LEFT - 8}" y="{top + 10}" text-anchor="end" style="{_STYLE}">'
                f"{escape(CONTENDERS[name].title)}</text>"
                f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR - 2}" fill="{_SHOWN[name]}"/>'
                f'<text x="{_LEFT + length + 6:.1f}" y="{top + 10}" style="{_STYLE}">{told}</text>'
            )
            top += _BAR
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top + 12}" role="img"'
    label = ' aria-label="CPU time per call of each gateway">'
    paper = f'<rect width="{_WIDTH}" height="{top + 12}" fill="#ffffff"/>'
    return "\n".join((head + label, paper, *parts, "</svg>")) + "\n"

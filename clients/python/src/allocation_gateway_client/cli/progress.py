"""The bar of a run over a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Task

    from allocation_gateway_client.cli.output import Output


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Returns the speed of the last half minute."""
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


_COLUMNS: Final = (
    TextColumn("allocating"),
    BarColumn(),
    MofNCompleteColumn(),
    _Rate(),
    TimeRemainingColumn(),
    TextColumn("{task.fields[told]}"),
)


def bar(printer: Output) -> Progress:
    """Makes a bar, which is not shown to programs. Its tasks have the field `told`: what else there is to say."""
    return Progress(*_COLUMNS, console=printer.errors, disable=printer.is_json)

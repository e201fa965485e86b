"""Writes the dashboards of the chart with Grafana's own SDK, from what panels.py says.

Usage: python -m helm.dashboards
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableHide,
    VariableRefresh,
)

from helm.panels import BOARDS, SCOPE, Board, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).resolve().parent / "allocation-gateway" / "dashboards"
# The chart puts the address of the runbooks in its place.
RUNBOOKS: Final = "RUNBOOKS_URL"
_TAG: Final = "allocation-gateway"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_KNOWN_BY: Final = "allocation_gateway_calls_limit"
_ACCOUNTS: Final = "allocation_gateway_upstream_breaker"
_HEIGHT: Final = 8
_WIDTH: Final = 8


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    built = stat.Panel() if panel.is_number else timeseries.Panel().min(0)
    built = (
        built.title(panel.question)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(_SOURCE)
        .height(_HEIGHT)
        .span(_WIDTH)
        .links(
            [
                dashboard.DashboardLink("What to do")
                .type(DashboardLinkType.LINK)
                .url(f"{RUNBOOKS}/{panel.runbook}.md")
                .target_blank(True)
            ]
        )
    )
    for query in panel.queries:
        target = prometheus.Dataquery().expr(query.expression).legend_format(query.legend)
        built = built.with_target(target.exemplar(query.has_exemplars))
    return built


def _account() -> dashboard.QueryVariable:
    """Returns the variable of the account. All: also that of the settings, of which series have no such label."""
    return (
        dashboard.QueryVariable("account")
        .datasource(_SOURCE)
        .query(f"label_values({_ACCOUNTS}{{{SCOPE}}}, account)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _variable(label: str) -> dashboard.QueryVariable:
    within = {"cluster": "", "namespace": 'cluster=~"$cluster"', "job": 'cluster=~"$cluster",namespace=~"$namespace"'}
    return (
        dashboard.QueryVariable(label)
        .datasource(_SOURCE)
        .query(f"label_values({_KNOWN_BY}{{{within[label]}}}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        # Also what has no such label: few who scrape one cluster name it.
        .all_value(".*")
    )


def build(board: Board) -> dashboard.Dashboard:
    """Returns a dashboard."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"{_TAG}-{board.name}")
        .tags([_TAG])
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").hide(VariableHide.DONT_HIDE))
        .link(
            dashboard.DashboardLink("Allocation Gateway")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .keep_time(True)
            .include_vars(True)
        )
    )
    for label in ("cluster", "namespace", "job"):
        built = built.with_variable(_variable(label))
    built = built.with_variable(_account())
    for title, panels in board.rows:
        built = built.with_row(dashboard.Row(title))
        for panel in panels:
            built = built.with_panel(_panel(panel))
    return built


def files() -> Mapping[str, str]:
    """Returns the text of each file."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{board.name}.json": encoder.encode(build(board).build()) + "\n" for board in BOARDS}


def main() -> None:
    """Writes all files, and removes those of dashboards that there are no more."""
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for file in FOLDER.glob("*.json"):
        if file.name not in made:
            file.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()

"""The dashboards and rules that the chart makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
import yaml
from support.chart import CHART, RefusedError

if TYPE_CHECKING:
    from support.chart import Helm, Rendered

pytestmark = pytest.mark.chart

SANDBOX: Final = "--set=sandbox.enabled=true"
DASHBOARDS: Final = "--set=observability.dashboards.enabled=true"
RULE: Final = "--set=observability.prometheusRule.enabled=true"
BOOKS: Final = "--set=observability.runbooks=https://git.test/books"


def boards(rendered: Rendered) -> dict[str, dict[str, str]]:
    """Returns the data of the ConfigMaps with dashboards by their names."""
    made = rendered.of("ConfigMap")
    return {found["metadata"]["name"]: found["data"] for found in made if "config.toml" not in found["data"]}


def test_neither_is_made_unless_asked_for(helm: Helm) -> None:
    rendered = helm.render(SANDBOX)
    assert boards(rendered) == {}
    assert rendered.of("PrometheusRule") == []


def test_dashboards_are_config_maps_that_the_sidecar_finds(helm: Helm) -> None:
    further = "--set=observability.dashboards.namespace=grafana,observability.dashboards.annotations.grafana_folder=A"
    rendered = helm.render(SANDBOX, DASHBOARDS, BOOKS, further)
    files = sorted((CHART / "dashboards").glob("*.json"))
    assert sorted(boards(rendered)) == [f"allocation-gateway-dashboard-{file.stem}" for file in files]
    for file in files:
        name = f"allocation-gateway-dashboard-{file.stem}"
        (found,) = [each for each in rendered.of("ConfigMap") if each["metadata"]["name"] == name]
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "A"}
        assert found["metadata"]["namespace"] == "grafana"
        ((key, text),) = found["data"].items()
        assert key == f"allocation-gateway-{file.stem}.json"
        assert json.loads(text) == json.loads(file.read_text().replace("RUNBOOKS_URL", "https://git.test/books"))


def test_names_of_dashboards_fit_however_long_that_of_the_release_is(helm: Helm) -> None:
    rendered = helm.render(SANDBOX, DASHBOARDS, f"--set=fullnameOverride={'a' * 63}")
    assert all(len(name) <= 63 for name in boards(rendered))


def test_rules_are_those_that_are_tested(helm: Helm) -> None:
    (rule,) = helm.render(SANDBOX, RULE, BOOKS, "--set=observability.prometheusRule.labels.release=p").of(
        "PrometheusRule"
    )
    text = (CHART / "rules" / "allocation-gateway.yaml").read_text()
    assert rule["spec"] == yaml.safe_load(text.replace("RUNBOOKS_URL", "https://git.test/books"))
    assert rule["metadata"]["labels"]["release"] == "p"


def test_runbooks_are_at_an_address(helm: Helm) -> None:
    with pytest.raises(RefusedError, match="/observability/runbooks"):
        helm.render(SANDBOX, RULE, "--set=observability.runbooks=docs")

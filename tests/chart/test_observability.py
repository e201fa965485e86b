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
    return {found["metadata"]["name"]: found["data"] for found in rendered.of("ConfigMap")}


def test_neither_is_made_unless_asked_for(helm: Helm) -> None:
    rendered = helm.render(SANDBOX)
    assert boards(rendered) == {}
    assert rendered.of("PrometheusRule") == []


@pytest.mark.parametrize("namespace", ["grafana", "default"])
def test_dashboards_are_config_maps_that_the_sidecar_finds(helm: Helm, namespace: str) -> None:
    """Where they are not in the namespace of the release, they have its name."""
    further = "--set=observability.dashboards.annotations.grafana_folder=A"
    rendered = helm.render(SANDBOX, DASHBOARDS, BOOKS, further, f"--set=observability.dashboards.namespace={namespace}")
    files = sorted((CHART / "dashboards").glob("*.json"))
    of = "allocation-gateway" if namespace == "default" else "default-allocation-gateway"
    assert sorted(boards(rendered)) == [f"{of}-dashboard-{file.stem}" for file in files]
    for file in files:
        name = f"{of}-dashboard-{file.stem}"
        (found,) = [each for each in rendered.of("ConfigMap") if each["metadata"]["name"] == name]
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert found["metadata"]["annotations"] == {"grafana_folder": "A"}
        assert found["metadata"]["namespace"] == namespace
        ((key, text),) = found["data"].items()
        assert key == f"{of}-{file.stem}.json"
        assert json.loads(text) == json.loads(file.read_text().replace("RUNBOOKS_URL", "https://git.test/books"))


def test_names_of_dashboards_fit_however_long_that_of_the_release_is(helm: Helm) -> None:
    """And differ where releases have names that begin alike, or one name in two namespaces."""
    rendered = [
        helm.render(SANDBOX, DASHBOARDS, "--set=observability.dashboards.namespace=grafana", *more)
        for more in (
            (f"--set=fullnameOverride={'a' * 62}b",),
            (f"--set=fullnameOverride={'a' * 62}c",),
            ("--namespace=one",),
            ("--namespace=two",),
        )
    ]
    found = [name for one in rendered for name in boards(one)]
    assert all(len(name) <= 63 for name in found)
    assert len(set(found)) == len(found) == 4 * len(boards(rendered[0]))


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

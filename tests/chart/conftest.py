"""The helm that renders the chart, by itself and as a part of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.chart import CHART, HELM_VERSION, Helm, Rendered, helm_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Umbrella = Callable[..., Rendered]

RELEASE = "shop"


@pytest.fixture(scope="session")
def helm(request: pytest.FixtureRequest) -> Helm:
    """The pinned helm, or another one, for tests that ask for it by `each_helm`."""
    version = getattr(request, "param", HELM_VERSION)
    return Helm(helm_command(version), version)


@pytest.fixture(scope="session")
def newest() -> Helm:
    """The pinned helm, for tests that have another one too."""
    return Helm(helm_command())


@pytest.fixture
def umbrella(helm: Helm, tmp_path: Path) -> Umbrella:
    """Renders a chart that depends on this one, from its dependencies and its values."""

    def render(
        dependencies: list[dict[str, str]], values: dict[str, Any], *arguments: str, release: str = RELEASE
    ) -> Rendered:
        chart = tmp_path / "umbrella"
        (chart / "templates").mkdir(parents=True)
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        here = {"name": "allocation-gateway", "version": version, "repository": f"file://{CHART}"}
        about = {
            "apiVersion": "v2",
            "name": "umbrella",
            "version": "1.0.0",
            "dependencies": [here | more for more in dependencies],
        }
        (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
        (chart / "values.yaml").write_text(yaml.safe_dump(values))
        done = helm("dependency", "update", str(chart))
        assert done.returncode == 0, done.stdout + done.stderr
        done = helm("lint", "--strict", str(chart), *arguments)
        rendered = helm.render(*arguments, release=release, chart=chart)
        assert done.returncode == 0, done.stdout + done.stderr
        return rendered

    return render

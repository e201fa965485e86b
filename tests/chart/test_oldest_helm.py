"""The oldest Helm that the chart is for makes of it what the newest does, and the documents say which it is."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from chart.helms import each_helm, oldest_helm
from support.chart import CHART, FEATURES, HELM_VERSION, NAME, OLDEST_HELM_VERSION, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.chart import Helm, Rendered

    Umbrella = Callable[..., Rendered]

pytestmark = pytest.mark.chart

SANDBOX = {"sandbox": {"enabled": True}}


def objects(rendered: Rendered) -> list[str]:
    """Returns the objects of a release in an order of their own."""
    return sorted(json.dumps(found, sort_keys=True) for found in rendered.objects)


@oldest_helm
@pytest.mark.parametrize("values", FEATURES, ids=lambda path: path.stem)
def test_each_feature_is_the_same(helm: Helm, newest: Helm, values: Path) -> None:
    made = objects(helm.render(f"--values={values}"))
    assert made == objects(newest.render(f"--values={values}"))
    assert made


@oldest_helm
@pytest.mark.parametrize(
    ("dependencies", "values"),
    [
        ([{}], {"allocation-gateway": SANDBOX | {"replicaCount": 3}, "global": {"imageRegistry": "mirror.example"}}),
        ([{"alias": "europe"}, {"alias": "asia", "condition": "asia.enabled"}], {"europe": SANDBOX, "asia": SANDBOX}),
        ([{"condition": "allocation-gateway.enabled"}], {"allocation-gateway": {"enabled": False}}),
    ],
    ids=["alone", "aliases", "switched off"],
)
def test_a_part_of_an_umbrella_chart_is_the_same(
    helm: Helm,
    newest: Helm,
    umbrella: Umbrella,
    tmp_path: Path,
    dependencies: list[dict[str, str]],
    values: dict[str, Any],
) -> None:
    made = objects(umbrella(dependencies, values))
    assert made == objects(newest.render(release="shop", chart=tmp_path / "umbrella"))


@pytest.mark.parametrize(
    ("helm", "place", "is_gone"),
    [
        (OLDEST_HELM_VERSION, "values.yaml", True),
        (OLDEST_HELM_VERSION, "--values", False),
        (HELM_VERSION, "values.yaml", False),
        (HELM_VERSION, "--values", True),
    ],
    indirect=["helm"],
)
def test_where_an_umbrella_chart_has_to_say_null_to_remove_a_default(
    umbrella: Umbrella, tmp_path: Path, place: str, is_gone: bool
) -> None:
    """It is Helm that decides that, and the README tells it."""
    none = {"allocation-gateway": {"resources": {"limits": None}}}
    file = tmp_path / "none.yaml"
    file.write_text(json.dumps(none if place == "--values" else {}))
    own = {} if place == "--values" else none["allocation-gateway"]
    rendered = umbrella([{}], {"allocation-gateway": SANDBOX | own}, f"--values={file}")
    assert ("limits" not in rendered.container["resources"]) is is_gone


@each_helm
def test_the_notes_have_a_command_that_it_can_run(helm: Helm, tmp_path: Path) -> None:
    """Helm 3 deletes the pod of a test before it reads its log. Without a cluster it prints none: an object does."""
    chart = tmp_path / NAME
    shutil.copytree(CHART, chart)
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "notes.yaml").write_text(
        f'{{{{- define "notes" }}}}{notes}{{{{ end -}}}}\nkind: Notes\ntext: {{{{ include "notes" . | toJson }}}}\n'
    )
    rendered = helm.render("--set=sandbox.enabled=true", chart=chart, release=NAME)
    (text,) = (found["text"] for found in rendered.objects if found["kind"] == "Notes")
    (command,) = re.findall(r"^ *(helm test .*)$", text, re.MULTILINE)
    assert command == f"helm test {NAME} --namespace default{'' if helm.is_3 else ' --logs'}"


@pytest.mark.parametrize("file", [CHART / "README.md", ROOT / "docs" / "kubernetes.md"], ids=lambda file: file.name)
def test_the_documents_say_with_which_helms_it_is_tested(file: Path) -> None:
    oldest, newest = (version.removeprefix("v").rpartition(".")[0] for version in (OLDEST_HELM_VERSION, HELM_VERSION))
    text = " ".join(file.read_text().split())
    assert f"Helm {oldest} or newer, and is tested with {oldest} and {newest}" in text

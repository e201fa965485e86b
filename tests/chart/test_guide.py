"""The guide for operators: what it shows works as it stands there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from allocation_gateway.settings import FIELDS
from support.chart import CHART, ROOT, Rendered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.chart import Helm

pytestmark = pytest.mark.chart

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text()


def blocks(heading: str) -> list[Any]:
    """Returns the YAML below a heading of the guide, with something in the place of what is to be filled in."""
    text = GUIDE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    assert text, heading
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [yaml.safe_load(re.sub(r"<your [a-z]+>", "registry.example", block)) for block in found]


def test_the_values_for_one_team_are_complete(helm: Helm, tmp_path: Path) -> None:
    (values,) = blocks("## One team")
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    rendered = helm.render(f"--values={file}")
    made = set(re.findall(r"kubectl create secret \w+ (\S+)", GUIDE))
    used = {volume["secret"]["secretName"] for volume in rendered.pod["volumes"] if "secret" in volume}
    used |= {
        entry["valueFrom"]["secretKeyRef"]["name"]
        for entry in rendered.container["env"]
        if "secretKeyRef" in str(entry)
    }
    assert used == made


def test_the_values_for_a_company_make_a_release_for_each_account(umbrella: Callable[..., Rendered]) -> None:
    chart, values, *_ = blocks("## Company-wide")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    assert {part["version"] for part in chart["dependencies"]} == {version}
    aliases = [{name: part[name] for name in ("alias", "condition")} for part in chart["dependencies"]]
    rendered = umbrella(aliases, values | {"wholesale": {"enabled": False}})
    assert rendered.one("Deployment")["metadata"]["name"] == "shop-retail"
    assert rendered.of("NetworkPolicy")
    assert rendered.of("HorizontalPodAutoscaler")
    assert rendered.of("PodMonitor")
    assert rendered.environment["ALLOCATION_GATEWAY_REPLICAS"] == "12"


def test_further_objects_get_the_name_that_the_certificate_is_for(helm: Helm, tmp_path: Path) -> None:
    _, _, objects, _ = blocks("## Company-wide")
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(objects | {"sandbox": {"enabled": True}}))
    rendered = helm.render(f"--values={file}")
    arguments = rendered.one("Pod", "test")["spec"]["containers"][0]["args"]
    address = arguments[arguments.index("--address") + 1].partition(":")[0]
    assert rendered.one("Certificate")["spec"]["dnsNames"] == [address]
    assert rendered.one("ExternalSecret")["spec"]["data"][0]["secretKey"] == "api-key"


def test_files_of_an_injector_take_the_place_of_secrets(helm: Helm, tmp_path: Path) -> None:
    *_, values = blocks("## Company-wide")
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    rendered = helm.render(f"--values={file}")
    check = rendered.one("Job", "check")["spec"]["template"]["metadata"]["annotations"]
    for template in (rendered.one("Deployment")["spec"]["template"]["metadata"]["annotations"], check):
        assert template["vault.hashicorp.com/agent-inject"] == "true"
    assert check["vault.hashicorp.com/agent-pre-populate-only"] == "true", "or else the Job would never end"
    assert not any("secret" in volume for volume in rendered.pod["volumes"])


def test_what_it_names_is_there() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in re.findall(r"`((?:settings|[a-z]+[A-Za-z]*)(?:\.[A-Za-z_]+)+)[`=]", GUIDE):
        part: Any = values
        name, *rest = path.split(".")
        if name == "settings":
            assert rest[0] in FIELDS, path
            continue
        if name not in values:
            continue
        for each in (name, *rest):
            assert each in part, path
            part = part[each]

"""The operator's guide: its three installations are complete, and its numbers are those of the documents it names."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.certificates import Authority
from support.chart import CHART, ROOT
from support.gateway import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from support.chart import Helm, Rendered

pytestmark = pytest.mark.chart

GUIDE = (ROOT / "docs" / "operating.md").read_text()
SITUATIONS = {"trial": "### A trial", "team": "### One team", "company": "### Company-wide, with several accounts"}


def section(heading: str) -> str:
    text = re.split(r"\n##", GUIDE.partition(f"\n{heading}\n")[2])[0]
    assert text, heading
    return text


def used(rendered: Rendered) -> set[str]:
    """Returns the Secrets and ConfigMaps that pods need and the release does not make."""
    found = {volume["secret"]["secretName"] for volume in rendered.pod["volumes"] if "secret" in volume}
    found |= {volume["configMap"]["name"] for volume in rendered.pod["volumes"] if "configMap" in volume}
    for volume in rendered.pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            found |= {part["name"] for kind, part in source.items() if kind in {"secret", "configMap"}}
    for entry in rendered.container["env"]:
        reference: dict[str, Any] = entry.get("valueFrom", {}).get("secretKeyRef", {})
        found |= {reference["name"]} if reference else set()
    return found - {made["metadata"]["name"] for made in rendered.objects if made["kind"] in {"ConfigMap", "Secret"}}


@pytest.mark.parametrize("name", SITUATIONS)
def test_its_commands_make_all_that_the_installation_needs(helm: Helm, name: str) -> None:
    text = section(SITUATIONS[name])
    values = CHART / "ci" / f"{name}-values.yaml"
    assert f"--values {values.relative_to(ROOT)}" in text.replace("\n", " ")
    made = set(re.findall(r"kubectl create (?:secret \w+|configmap) (\S+)", text))
    assert used(helm.render(f"--values={values}")) == made


def test_its_accounts_and_policy_pass_the_gateways_own_check(helm: Helm, tmp_path: Path) -> None:
    rendered = helm.render(f"--values={CHART / 'ci' / 'company-values.yaml'}")
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.container["volumeMounts"]}
    accounts = (ROOT / "docs" / "examples" / "accounts.toml").read_text()
    keys = set(re.findall(rf'"{mounts["account-keys"]}/([^"]+)"', accounts))
    assert keys == set(re.findall(r"--from-file=([a-z-]+)=<file>", section(SITUATIONS["company"])))
    for key in keys:
        (tmp_path / key).write_text("a-key")
    (tmp_path / "accounts.toml").write_text(accounts.replace(mounts["account-keys"], str(tmp_path)))
    authority = Authority(tmp_path)
    chain, key_file = authority.issue("server")

    def check(policy: Path) -> subprocess.CompletedProcess[str]:
        given = {
            "ACCOUNTS_FILE": tmp_path / "accounts.toml",
            "POLICY_FILE": policy,
            "TLS_CERT_FILE": chain,
            "TLS_KEY_FILE": key_file,
            "TLS_CLIENT_CA_FILE": authority.file,
            "ALLOW_UNSHARED_CLAIMS": "true",
        }
        environment = os.environ | {f"ALLOCATION_GATEWAY_{name}": str(value) for name, value in given.items()}
        return subprocess.run([COMMAND, "check"], env=environment, capture_output=True, text=True, check=False)

    good = ROOT / "docs" / "examples" / "policy.toml"
    done = check(good)
    assert done.returncode == 0, done.stderr
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(good.read_text().replace('"reads", "single"', '"reeds", "single"'))
    assert check(wrong).returncode != 0


def test_its_numbers_are_those_of_the_benchmark() -> None:
    performance = (ROOT / "docs" / "performance.md").read_text()

    def row(heading: str, name: str) -> list[str]:
        text = performance.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        (found,) = re.findall(rf"^\| {name} \| (.*) \|$", text, re.MULTILINE)
        return [cell.strip() for cell in found.split("|")]

    def told(name: str) -> list[int]:
        (found,) = re.findall(rf"^\| {name}[^|]* \| ([^|]*) \|", section("## Sizing"), re.MULTILINE)
        return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", found)]

    def rate(heading: str, name: str) -> int:
        return round(int(row(heading, name)[2].replace(",", "")), -2)

    ours, stored = "ours, all policies on", "ours, claims on a Redis server"
    many, few = "50 ms upstream, 400 in flight", "50 ms upstream, 64 in flight"
    assert told("calls a second and core, claims in memory") == [rate(many, ours), 400, rate(few, ours), 64]
    assert told("calls a second and core, claims on a store") == [rate(many, stored), 400]
    starts = [int(row("Memory", name)[0].split()[0]) for name in (ours, stored)]
    assert told("memory of a process at the start") == starts
    assert told("memory of a call in hand") == [round(float(row("Memory", ours)[3].split()[0]))]

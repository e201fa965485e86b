"""Renders the Helm chart, and reads what came out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "allocation-gateway"
HELM_VERSION = "v4.2.4"
# The oldest that the chart is for, and the Kubernetes for whose objects it was made.
OLDEST_HELM_VERSION = "v3.14.4"
OLDEST_HELM_KUBERNETES = "1.29"
INSTALL_SECONDS = 1200
# It works for a second, and may have other work beside it.
_SECONDS = 300
FEATURES = sorted(CHART.glob("ci/*-values.yaml"))
NAME = "allocation-gateway"


class RefusedError(Exception):
    """Helm did not render the chart. The text is what it said."""


@dataclass(frozen=True)
class Rendered:
    """The objects that a release consists of."""

    objects: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Returns the gateway's own objects of a kind, and not those of what stands beside it."""
        return [found for found in self.objects if found["kind"] == kind and not component(found)]

    def one(self, kind: str, beside: str = "") -> dict[str, Any]:
        """Returns the only object of a kind, of the gateway or of a component beside it."""
        (found,) = [found for found in self.objects if (found["kind"], component(found)) == (kind, beside)]
        return found

    @property
    def pod(self) -> dict[str, Any]:
        """The specification of the gateway's pods."""
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """The gateway's container."""
        (found,) = [container for container in self.pod["containers"] if container["name"] == NAME]
        assert isinstance(found, dict)
        return found

    @property
    def configuration(self) -> str:
        """The text of the configuration file that the gateway's pods have."""
        return configuration(self.one("Deployment")["spec"]["template"])

    @property
    def environment(self) -> dict[str, Any]:
        """The container's environment variables that the chart gives as text."""
        return {entry["name"]: entry["value"] for entry in self.container["env"] if "value" in entry}


def component(found: dict[str, Any]) -> str:
    """Returns what an object is of: `sandbox`, `headless`, `check` or `test`, and nothing for the gateway itself."""
    name: str = found["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
    return name


def configuration(template: dict[str, Any]) -> str:
    """Returns the text of the configuration file of pods that are made from a template.

    Each of them has it in an annotation of its own, which Kubernetes mounts as a file.
    """
    (volume,) = [found for found in template["spec"]["volumes"] if found["name"] == "config"]
    (item,) = volume["downwardAPI"]["items"]
    assert item["path"] == "config.toml"
    (name,) = re.findall(r"^metadata\.annotations\['(.+)'\]$", item["fieldRef"]["fieldPath"])
    text: str = template["metadata"]["annotations"][name]
    return text


def _link_flags(version: str) -> str:
    """Returns what a release of Helm 3 is linked with. Without it, it takes itself for one of Kubernetes 1.20."""
    if version != OLDEST_HELM_VERSION:
        return ""
    numbers = zip(("Major", "Minor"), OLDEST_HELM_KUBERNETES.split("."), strict=True)
    texts = {f"k8sVersion{part}": number for part, number in numbers}
    known = {f"{package}.{name}": text for package in ("chartutil", "lint/rules") for name, text in texts.items()}
    flags = [f"-X helm.sh/helm/v3/pkg/{name}={text}" for name, text in known.items()]
    return " ".join((*flags, f"-X helm.sh/helm/v3/internal/version.version={version}"))


def helm_command(version: str = HELM_VERSION) -> str:
    """Returns the path of a helm, built from source where it is missing."""
    folder = ROOT / ".cache" / "helm" / version
    command = folder / "helm"
    if command.exists():
        return str(command)
    go = shutil.which("go")
    if go is None:
        pytest.fail(f"go is missing: install Go 1.26 or newer, which builds helm {version}", pytrace=False)
    source = f"helm.sh/helm/{version.partition('.')[0]}/cmd/helm@{version}"
    done = subprocess.run(
        [go, "install", f"-ldflags={_link_flags(version)}", source],
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"helm {version} cannot be built:\n{done.stderr}", pytrace=False)
    return str(command)


# What the library says by which Helm checks values against the schema, and what another one said before Helm 3.18.5.
_EARLIER_WORDING = (
    (r"^/.*", lambda found: found[0][1:].replace("/", ".")),
    (r"^'(.+)' not allowed$", lambda found: f"Additional property {found[1]} is not allowed"),
    (r"^missing property '(.+)'$", lambda found: f"{found[1]} is required"),
    (r"^(?:invalid propertyName )?'([^']+)'(?: does not match)?$", lambda found: f'"{found[1]}" does not match'),
)


@dataclass(frozen=True)
class Helm:
    """The helm command."""

    command: str
    version: str = HELM_VERSION

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=ROOT
        )

    @property
    def is_3(self) -> bool:
        """Whether it is a Helm 3."""
        return self.version.startswith("v3.")

    def wording(self, told: str) -> str:
        """Returns how it says what the newest says of values that the schema refuses, and other texts as they are."""
        if self.version != OLDEST_HELM_VERSION:
            return told
        for pattern, earlier in _EARLIER_WORDING:
            if found := re.search(pattern, told):
                return earlier(found)
        return told

    def render(self, *arguments: str, release: str = NAME, chart: Path = CHART) -> Rendered:
        """Renders the chart, or another one, with further arguments.

        Raises:
            RefusedError: Helm refused the values.
        """
        done = self("template", release, str(chart), *arguments)
        if done.returncode != 0:
            raise RefusedError(done.stderr)
        return Rendered([found for found in yaml.safe_load_all(done.stdout) if found])

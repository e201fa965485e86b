"""Validates objects of kinds that Kubernetes itself does not know, by the definitions that their makers publish."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import jsonschema
import pytest
import yaml


class Definition(NamedTuple):
    """Where the definition of a kind is.

    Attributes:
        module: The Go module that it is published with.
        file: Its file there.
    """

    module: str
    file: str


_GATEWAY_API: Final = "sigs.k8s.io/gateway-api@v1.6.3"
_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
_CRDS: Final = "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml"
DEFINITIONS: Final = {
    "GRPCRoute": Definition(_GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"),
    "ServiceMonitor": Definition(_OPERATOR, _CRDS.format("servicemonitors")),
    "PodMonitor": Definition(_OPERATOR, _CRDS.format("podmonitors")),
}
# The groups of Kubernetes itself are without a dot, or end so.
_OWN: Final = ".k8s.io"
_NOT_OWN: Final = "gateway.networking.k8s.io"
_DOWNLOAD_SECONDS: Final = 600


def is_custom(found: dict[str, Any]) -> bool:
    """Tells whether an object is of a kind that Kubernetes does not know."""
    group = found["apiVersion"].rpartition("/")[0]
    return group == _NOT_OWN or ("." in group and not group.endswith(_OWN))


def validate(found: dict[str, Any]) -> None:
    """Validates an object, strictly: what its definition does not name is refused.

    Raises:
        jsonschema.ValidationError: It is not as defined.
    """
    definition = _definition(DEFINITIONS[found["kind"]])
    version = found["apiVersion"].rpartition("/")[2]
    (served,) = [each for each in definition["spec"]["versions"] if each["name"] == version and each["served"]]
    schema = served["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    jsonschema.validate(found, _closed(schema), cls=jsonschema.Draft7Validator)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema that refuses the properties which it does not name, as a cluster drops them."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: _closed(part) for name, part in made["properties"].items()}
        made.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _closed(made[name])
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("type", None)
    return made


@cache
def _definition(definition: Definition) -> dict[str, Any]:
    go = shutil.which("go")
    if go is None:
        pytest.fail("go is missing: it has the definitions of custom resources", pytrace=False)
    done = subprocess.run(
        [go, "mod", "download", "-json", definition.module],
        env={**os.environ, "GOFLAGS": "-mod=mod"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{definition.module} cannot be had:\n{done.stdout}{done.stderr}", pytrace=False)
    loaded: dict[str, Any] = yaml.safe_load((Path(json.loads(done.stdout)["Dir"]) / definition.file).read_text())
    return loaded

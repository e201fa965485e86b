"""What the chart says about itself agrees with what it is."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from allocation_gateway.settings import FIELDS
from allocation_gateway.version import __version__
from support.chart import CHART, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

pytestmark = pytest.mark.chart

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The program that writes the schema's and the README's derived parts."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "helm" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def objects(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the parts of the schema that name their properties."""
    if "properties" in schema:
        yield path, schema
        for name, part in schema["properties"].items():
            yield from objects(part, f"{path}.{name}" if path else name)


def test_schema_and_readme_are_as_their_generator_writes_them(generate: ModuleType) -> None:
    made_files = (
        (generate.SCHEMA, generate.schema),
        (generate.RULES, generate.rules),
        (generate.README, generate.readme),
    )
    for file, made in made_files:
        text = file.read_text()
        assert made(text) == text, f"{file.name} is out of date: run python helm/generate.py"


def test_every_value_is_in_the_readmes_table_with_its_default() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (?:`(.*?)`)? \| (.+) \|$", (CHART / "README.md").read_text(), re.MULTILINE)
    listed = {path: (json.loads(default) if default else None) for path, default, _ in rows}

    def check(values: Mapping[str, Any], prefix: str) -> None:
        for name, value in values.items():
            path = f"{prefix}{name}"
            if path in listed:
                assert listed.pop(path) == value
            else:
                assert isinstance(value, dict), f"{path} is not in the table"
                check(value, f"{path}.")

    check(VALUES, "")
    assert listed == {}, "the table has values that values.yaml lacks"


def test_every_value_has_a_comment(generate: ModuleType) -> None:
    texts = generate.comments((CHART / "values.yaml").read_text())
    for path, schema in objects(SCHEMA):
        if path != "settings":
            missing = [name for name in schema["properties"] if (f"{path}.{name}" if path else name) not in texts]
            assert missing == [], path


def test_the_schema_is_closed_and_names_what_values_yaml_names() -> None:
    for path, schema in objects(SCHEMA):
        if path == "global":
            continue  # an umbrella chart's own, which may hold anything
        assert schema["additionalProperties"] is False, path
        values = VALUES
        for name in filter(None, path.split(".")):
            values = values[name]
        if path == "settings":
            assert values.keys() <= schema["properties"].keys()
        else:
            assert values.keys() == schema["properties"].keys(), path


def test_the_schema_knows_every_setting_that_the_chart_does_not_decide(generate: ModuleType) -> None:
    known = set(SCHEMA["properties"]["settings"]["properties"])
    assert known | generate.DECIDED == FIELDS.keys()
    assert not known & generate.DECIDED


def test_every_value_is_read_by_a_template(generate: ModuleType) -> None:
    templates = "".join(path.read_text() for path in sorted(CHART.glob("templates/**/*")) if path.is_file())
    unread = [path for path in generate.leaves(SCHEMA) if path.rpartition(".")[2] not in re.split(r"\W+", templates)]
    # A probe's values are copied as a whole.
    assert {path.partition(".")[0] for path in unread} <= {"startupProbe", "livenessProbe", "readinessProbe"}


def test_the_charts_app_version_is_the_gateways() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_the_image_is_labelled_with_the_gateways_version_by_itself() -> None:
    assert f"\nARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text()


def test_its_yaml_is_tidy() -> None:
    command = [str(Path(sys.executable).parent / "yamllint"), "--strict", "-c", str(ROOT / "helm" / "yamllint.yaml")]
    done = subprocess.run([*command, str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

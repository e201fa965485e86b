"""The catalogue file: taken as a whole or not at all, and what is wrong is told with line and key."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from allocation_gateway.groups import documents
from allocation_gateway.groups.catalogue import MAX_BYTES, Catalogue, CatalogueError, parse
from allocation_gateway.groups.model import Group, Source
from allocation_gateway.operations.model import Api
from support.gateway import COMMAND, environment

TOML = """
complete = ["ship"]

[[service_groups]]
code = "dangerousGoods"
display_name = "Dangerous goods"
aliases = ["dangerous-goods", "hazmat"]
api = "ship"

[[service_groups]]
code = "Größe / 50% & mehr"
api = "consignments"
account = "default"
"""
YAML = """
complete: [ship]
service_groups:
  - code: dangerousGoods
    display_name: Dangerous goods
    aliases:
      - dangerous-goods
      - hazmat
    api: ship
  - {code: "Größe / 50% & mehr", api: consignments, account: default}
"""
WHOLE = Catalogue(
    groups=(
        Group(
            Api.SHIP, "dangerousGoods", Source.CATALOGUE, 7.0, None, "Dangerous goods", ("dangerous-goods", "hazmat")
        ),
        Group(Api.CONSIGNMENTS, "Größe / 50% & mehr", Source.CATALOGUE, 7.0),
    ),
    complete=frozenset({Api.SHIP}),
)


def read(name: str, text: str) -> Catalogue:
    return parse(Path(name), text.encode(), now=7.0)


def refused(name: str, text: str | bytes) -> CatalogueError:
    with pytest.raises(CatalogueError) as caught:
        parse(Path(name), text if isinstance(text, bytes) else text.encode(), now=7.0)
    return caught.value


@pytest.mark.parametrize(("name", "text"), [("a.toml", TOML), ("a.yaml", YAML), ("A.YML", YAML)])
def test_toml_and_yaml_say_the_same(name: str, text: str) -> None:
    assert read(name, text) == WHOLE


def test_a_catalogue_may_have_no_group() -> None:
    assert read("a.toml", "service_groups = []") == Catalogue()


# The file, and the line, the key and a part of the text of the first problem.
WRONG = {
    "empty": ("a.toml", "", 0, "service_groups", "is missing"),
    "empty YAML": ("a.yaml", "", 0, "", "must hold `service_groups`"),
    "a list": ("a.yaml", "- code: x", 1, "", "must hold `service_groups`"),
    "no TOML": ("a.toml", '\n[[service_groups]]\ncode = "x', 3, "", "is not valid TOML"),
    "no TOML in the middle": ("a.toml", "\nservice_groups = nope\n", 2, "", "is not valid TOML"),
    "no YAML": ("a.yaml", "service_groups:\n  - code: ]", 2, "", "is not valid YAML"),
    "unknown key": ("a.toml", "service_groups = []\ncolour = 1", 2, "colour", "there is no such key"),
    "unknown table": ("a.toml", "service_groups = []\n[colour]\nred = 1", 2, "colour", "there is no such key"),
    "key of a group": (
        "a.toml",
        '[[service_groups]]\ncode = "x"\napi = "ship"\nname = "y"',
        4,
        "service_groups[0].name",
        "there is no such key",
    ),
    "no code": ("a.toml", '\n[[service_groups]]\napi = "ship"', 2, "service_groups[0].code", "is missing"),
    "no API": ("a.yaml", "service_groups:\n- code: x", 2, "service_groups[0].api", "must be ship or consignments"),
    "other API": (
        "a.yaml",
        "service_groups:\n- code: x\n  api: [ship]",
        3,
        "service_groups[0].api",
        "must be ship or consignments",
    ),
    "number as code": ("a.yaml", "service_groups:\n- api: ship\n  code: 12", 3, "service_groups[0].code", "quotes"),
    "null as code": ("a.yaml", "service_groups:\n- api: ship\n  code:", 3, "service_groups[0].code", "is missing"),
    "list as code": ("a.yaml", "service_groups:\n- api: ship\n  code: []", 3, "service_groups[0].code", "quotes"),
    "empty code": (
        "a.yaml",
        'service_groups:\n- api: ship\n  code: ""',
        3,
        "service_groups[0].code",
        "1 to 255 characters",
    ),
    "dot segment": ("a.yaml", 'service_groups:\n- api: ship\n  code: ".."', 3, "service_groups[0].code", "dot segment"),
    "alias that is none": (
        "a.yaml",
        "service_groups:\n- api: ship\n  code: x\n  aliases:\n  - y\n  - 5",
        6,
        "service_groups[0].aliases[1]",
        "quotes",
    ),
    "aliases that are none": (
        "a.toml",
        '[[service_groups]]\ncode = "x"\napi = "ship"\naliases = "y"',
        4,
        "service_groups[0].aliases",
        "must be a list",
    ),
    "no account": (
        "a.toml",
        '[[service_groups]]\ncode = "x"\napi = "ship"\naccount = "an other"',
        4,
        "service_groups[0].account",
        "must be the name of an account",
    ),
    "account that is no text": (
        "a.toml",
        '[[service_groups]]\ncode = "x"\napi = "ship"\naccount = 7',
        4,
        "service_groups[0].account",
        "must be the name of an account",
    ),
    "complete for no account": (
        "a.toml",
        'complete = ["/ship"]\nservice_groups = []',
        1,
        "complete[0]",
        "or the name of an account, a slash",
    ),
    "twice": (
        "a.toml",
        '[[service_groups]]\ncode = "x"\napi = "ship"\n[[service_groups]]\ncode = "x"\napi = "ship"',
        5,
        "service_groups[1].code",
        "is given twice for ship; first in line 2",
    ),
    "key twice": (
        "a.yaml",
        "service_groups:\n- api: ship\n  code: x\n  code: y",
        4,
        "service_groups[0].code",
        "is given twice",
    ),
    "complete": ("a.toml", 'complete = ["boat"]\nservice_groups = []', 1, "complete[0]", "must be ship or"),
    "complete as text": ("a.toml", 'complete = "ship"\nservice_groups = []', 1, "complete", "must be a list"),
    "groups as text": ("a.toml", 'service_groups = "x"', 1, "service_groups", "must be a list"),
    "group as text": ("a.yaml", "service_groups:\n- x", 2, "service_groups[0]", "must be a service group"),
    "YAML alias": (
        "a.yaml",
        "service_groups: &a\n- *a",
        1,
        "service_groups[0]",
        "aliases of YAML are not supported",
    ),
    "no date": ("a.yaml", "service_groups:\n- api: ship\n  code: 2026-99-99", 0, "", "is not valid YAML"),
    "other tag": ("a.yaml", "service_groups: !!python/name:os.system x", 1, "", "is not valid YAML"),
    "two documents": ("a.yaml", "service_groups: []\n---\nservice_groups: []", 2, "", "is not valid YAML"),
    "not UTF-8": ("a.toml", b"# one\n# \xff", 2, "", "is not UTF-8"),
    "too deep": ("a.toml", "x = " + "[" * 10_000, 0, "", "nests too deeply"),
    "too deep in YAML": ("a.yaml", "[" * 100, 1, "", "nests too deeply"),
    # PyYAML has a limit too since 6.0.4, and words of its own.
    "far too deep in YAML": ("a.yaml", "[" * 10_000, 1, "", "nest"),
    "too large": ("a.toml", b"#" * (MAX_BYTES + 1), 0, "", "is larger than"),
    "other ending": ("a.json", "{}", 0, "", "must end in .toml, .yaml or .yml"),
}


@pytest.mark.parametrize(("name", "text", "line", "key", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_with_line_and_key(name: str, text: str | bytes, line: int, key: str, told: str) -> None:
    problem = refused(name, text).problems[0]
    assert (problem.line, problem.key) == (line, key)
    assert told in problem.text


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_half_a_character_is_refused_with_its_line_with_and_without_libyaml(
    loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing could be sent to anybody with it."""
    monkeypatch.setattr(documents, "_YAML", getattr(yaml, loader))
    assert read("a.yaml", YAML) == WHOLE
    assert refused("a.yaml", 'service_groups:\n- api: ship\n  code: "\\ud800"').problems[0].line == 3


def test_all_problems_are_told_in_the_order_of_their_lines() -> None:
    error = refused("a.toml", '[[service_groups]]\ncode = 1\napi = "boat"\n[[service_groups]]\ncode = ""\nx = 1')
    assert [problem.line for problem in error.problems] == [2, 3, 4, 5, 6]
    assert str(error).startswith("line 2, service_groups[0].code: must be a text")


def test_a_long_list_of_problems_is_cut_and_says_so() -> None:
    error = refused("a.yaml", "service_groups:\n" + "- x\n" * 50)
    assert len(error.problems) == 50
    assert str(error).endswith("; and 45 more")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_wrong_catalogue_stops_the_process_before_it_listens(command: str, tmp_path: Path) -> None:
    file = tmp_path / "groups.toml"
    settings = {
        "ALLOW_PLAINTEXT": "true",
        "SHIP_API_KEY": "key",
        "PORT": "0",
        "SERVICE_GROUP_CATALOGUE_FILE": str(file),
    }

    def told() -> str:
        done = subprocess.run(
            [COMMAND, command], env=environment(settings), capture_output=True, text=True, timeout=90, check=False
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"ALLOCATION_GATEWAY_SERVICE_GROUP_CATALOGUE_FILE: {file}: " in done.stderr
        return done.stderr

    assert "cannot be read: No such file or directory" in told()
    file.write_text('[[service_groups]]\ncode = "x"\napi = "boat"')
    assert "line 3, service_groups[0].api: must be ship or consignments" in told()

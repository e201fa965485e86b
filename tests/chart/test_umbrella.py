"""The chart as a part of another one, as teams deploy it that run several services with one release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from chart.helms import each_helm
from support.chart import RefusedError, Rendered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.chart import Helm

    Umbrella = Callable[..., Rendered]

pytestmark = [pytest.mark.chart, each_helm]

SANDBOX = {"sandbox": {"enabled": True}}


def deployments(rendered: Rendered) -> list[str]:
    return sorted(found["metadata"]["name"] for found in rendered.of("Deployment"))


def test_nothing_global_needs_to_be_set(umbrella: Umbrella) -> None:
    rendered = umbrella([{}], {"allocation-gateway": SANDBOX})
    assert deployments(rendered) == ["shop-allocation-gateway"]
    assert "imagePullSecrets" not in rendered.pod


def test_globals_of_others_may_be_there(umbrella: Umbrella) -> None:
    others = {"storageClass": "fast", "postgresql": {"auth": {"password": "x"}}, "hosts": ["a"]}
    assert umbrella([{}], {"global": others, "allocation-gateway": SANDBOX}).of("Deployment")


@pytest.mark.parametrize(
    ("registry", "image"),
    [
        ({}, "allocation-gateway"),
        ({"image": {"registry": "own.example"}}, "own.example/allocation-gateway"),
        ({"image": {"repository": "team/gateway"}}, "team/gateway"),
    ],
    ids=["none", "of its own", "repository"],
)
def test_the_global_registry_is_put_before_the_repository(
    umbrella: Umbrella, registry: dict[str, Any], image: str, tmp_path: Path
) -> None:
    values = SANDBOX | registry
    given = {"allocation-gateway": values, "global": {"imageRegistry": "mirror.example:5000"}}
    rendered = umbrella([{}], given, "--set=allocation-gateway.image.tag=1.2.3")
    own = image.removeprefix("own.example/")
    assert rendered.container["image"] == f"mirror.example:5000/{own}:1.2.3"
    (test,) = [found for found in rendered.objects if found["kind"] == "Pod"]
    assert test["spec"]["containers"][0]["image"] == rendered.container["image"]


def test_without_a_global_registry_the_charts_own_counts(umbrella: Umbrella) -> None:
    values = SANDBOX | {"image": {"registry": "own.example", "digest": "sha256:" + "0" * 64}}
    rendered = umbrella([{}], {"allocation-gateway": values})
    assert rendered.container["image"] == f"own.example/allocation-gateway@sha256:{'0' * 64}"


def test_global_pull_secrets_count_besides_the_charts_own(umbrella: Umbrella) -> None:
    """Charts write them in two ways, and both are in use."""
    shared = ["first", {"name": "second"}, {"name": "own"}]
    values = SANDBOX | {"imagePullSecrets": [{"name": "own"}, {"name": "last"}]}
    rendered = umbrella([{}], {"global": {"imagePullSecrets": shared}, "allocation-gateway": values})
    expected = [{"name": name} for name in ("first", "second", "own", "last")]
    assert rendered.pod["imagePullSecrets"] == expected
    (test,) = [found for found in rendered.objects if found["kind"] == "Pod"]
    assert test["spec"]["imagePullSecrets"] == expected


def test_a_condition_decides_whether_it_is_a_part(umbrella: Umbrella) -> None:
    condition = {"condition": "allocation-gateway.enabled"}
    values = {"allocation-gateway": SANDBOX | {"enabled": True}}
    rendered = umbrella([condition], values)
    assert deployments(rendered) == ["shop-allocation-gateway"]


def test_a_condition_that_is_false_leaves_it_out(umbrella: Umbrella) -> None:
    condition = {"condition": "allocation-gateway.enabled"}
    rendered = umbrella([condition], {"allocation-gateway": {"enabled": False}})
    assert rendered.objects == []


def test_being_switched_off_without_a_condition_is_refused_and_not_ignored(umbrella: Umbrella) -> None:
    with pytest.raises(RefusedError, match="enabled: is false, which only the condition of an umbrella chart"):
        umbrella([{}], {"allocation-gateway": SANDBOX | {"enabled": False}})


def test_two_of_them_live_under_aliases(umbrella: Umbrella) -> None:
    aliases = [
        {"alias": "europe", "condition": "europe.enabled"},
        {"alias": "asia", "condition": "asia.enabled"},
    ]
    values = {"europe": SANDBOX | {"enabled": True}, "asia": SANDBOX, "global": {"imageRegistry": "mirror.example"}}
    rendered = umbrella(aliases, values)
    assert deployments(rendered) == ["shop-asia", "shop-europe"]
    selectors = [found["spec"]["selector"] for found in rendered.of("Service")]
    assert len({tuple(sorted(selector.items())) for selector in selectors}) == 2
    names = [(found["kind"], found["metadata"]["name"]) for found in rendered.objects]
    assert len(names) == len(set(names)), "two objects have one name"
    containers = [found["spec"]["template"]["spec"]["containers"][0] for found in rendered.of("Deployment")]
    assert {container["image"].partition(":")[0] for container in containers} == {"mirror.example/allocation-gateway"}


def test_wrong_values_are_refused_there_too(helm: Helm, umbrella: Umbrella) -> None:
    with pytest.raises(RefusedError, match=helm.wording("'tga' not allowed")):
        umbrella([{}], {"allocation-gateway": SANDBOX | {"image": {"tga": "1"}}})

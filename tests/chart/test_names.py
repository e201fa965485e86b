"""Whatever releases, parts of an umbrella chart and Secrets are called: objects have names, none twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
from chart.helms import each_helm
from support import custom
from support.chart import CHART, FEATURES, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.chart import Helm, Rendered

    Umbrella = Callable[..., Rendered]

pytestmark = pytest.mark.chart

NEWEST = "1.37"
SANDBOX = {"sandbox": {"enabled": True}}
# What YAML takes for a boolean, a number or nothing where it is not quoted.
WORDS = ("no", "on", "off", "null")


def valid(rendered: Rendered) -> None:
    """Checks that Kubernetes could take all objects of a release, and tell them from each other."""
    for found in rendered.objects:
        if not custom.is_custom(found):
            kubernetes_validate.validate(found, NEWEST, strict=True)
        name = found["metadata"]["name"]
        assert isinstance(name, str)
        assert len(name) <= 63
        assert name == name.lower()
        assert "_" not in name
    names = Counter((found["kind"], found["metadata"]["name"]) for found in rendered.objects)
    assert names.most_common(1)[0][1] == 1
    selectors = [found["spec"]["selector"] for found in rendered.objects if found["kind"] == "Deployment"]
    labels = Counter(tuple(sorted(selector["matchLabels"].items())) for selector in selectors)
    assert labels.most_common(1)[0][1] == 1


def deployments(rendered: Rendered) -> list[str]:
    return sorted(found["metadata"]["name"] for found in rendered.of("Deployment"))


@each_helm
def test_words_that_yaml_takes_for_something_else_are_names(helm: Helm, umbrella: Umbrella) -> None:
    aliases = [{"alias": word} for word in WORDS]
    rendered = umbrella(aliases, dict.fromkeys(WORDS, SANDBOX), release="no")
    valid(rendered)
    assert deployments(rendered) == ["no", "no-null", "no-off", "no-on"]
    valid(helm.render("--set=sandbox.enabled=true", "--set-string=fullnameOverride=y,nameOverride=2024"))


def strings(part: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        for name, inner in part.items():
            yield from strings(inner, f"{path}.{name}")
    elif isinstance(part, list):
        for inner in part:
            yield from strings(inner, path)
    else:
        yield path, part


@each_helm
def test_secrets_of_digits_alone_are_names(helm: Helm) -> None:
    named = ("ship.apiKeySecret", "consignments.apiKeySecret", "store.urlSecret", "cache.urlSecret", "tests.caSecret")
    keyed = ",".join(f"{path}.name=1001,{path}.key=1002" for path in named)
    others = (
        "tls.secretName=1003,tls.certKey=1004,tls.keyKey=1005,tls.clientCA.secretName=1006,tls.clientCA.key=1007,"
        "serviceGroups.catalogue.configMapName=1008,serviceAccount.name=1009,serviceAccount.create=false,"
        "tests.clientCertificateSecret.name=1010,runtimeClassName=1011,priorityClassName=1012,schedulerName=1013"
    )
    rendered = helm.render(
        f"--set-string={keyed}",
        f"--set-string={others.replace(',serviceAccount.create=false', '')}",
        "--set=serviceAccount.create=false",
    )
    valid(rendered)
    numbers = {text for found in rendered.objects for _, text in strings(found) if text in range(1001, 1014)}
    assert numbers == set()
    texts = {text for found in rendered.objects for _, text in strings(found) if isinstance(text, str)}
    assert {str(number) for number in range(1001, 1014)} <= texts | {path for text in texts for path in text.split("/")}


def test_aliases_of_other_letters_give_names(umbrella: Umbrella) -> None:
    aliases = [{"alias": "gatewayEU"}, {"alias": "retail_eu"}]
    rendered = umbrella(aliases, {"gatewayEU": SANDBOX, "retail_eu": SANDBOX})
    valid(rendered)
    assert deployments(rendered) == ["shop-gatewayeu", "shop-retail-eu"]


def test_two_aliases_within_the_name_of_a_release_have_two_names(umbrella: Umbrella) -> None:
    rendered = umbrella([{"alias": "eu"}, {"alias": "asia"}], {"eu": SANDBOX, "asia": SANDBOX}, release="eu-asia")
    valid(rendered)
    assert deployments(rendered) == ["eu-asia-asia", "eu-asia-eu"]


def test_two_aliases_in_a_release_of_the_longest_name_have_two_names(umbrella: Umbrella) -> None:
    """Also where they differ only in what there is no room for."""
    names = ("consumer-retail", "consumer-wholesale")
    rendered = umbrella([{"alias": name} for name in names], dict.fromkeys(names, SANDBOX), release="r" * 53)
    valid(rendered)
    assert len(deployments(rendered)) == 2


def test_a_release_whose_name_no_service_can_have_is_told_so(helm: Helm) -> None:
    with pytest.raises(
        RefusedError, match="fullnameOverride: is required here, since no Service can be called 2024-all"
    ):
        helm.render("--set=sandbox.enabled=true", release="2024")
    valid(helm.render("--set=sandbox.enabled=true,fullnameOverride=gateway", release="2024"))


@each_helm
def test_large_numbers_stay_numbers(helm: Helm, tmp_path: Any) -> None:
    """Helm reads those of a file as of floating point, of which it makes 1e+06."""
    file = tmp_path / "values.yaml"
    file.write_text(
        "sandbox: {enabled: true, shipments: 1000000}\n"
        "configurationCheck: {timeoutSeconds: 2000000}\n"
        "terminationGracePeriodSeconds: 1000000\n"
        "minReadySeconds: 1000000\n"
        "progressDeadlineSeconds: 2000000\n"
    )
    rendered = helm.render(f"--values={file}")
    valid(rendered)
    (sandbox,) = rendered.one("Deployment", "sandbox")["spec"]["template"]["spec"]["containers"]
    assert sandbox["args"][-1] == "1000000"
    assert rendered.pod["terminationGracePeriodSeconds"] == 1_000_000
    spec = rendered.one("Deployment")["spec"]
    assert (spec["minReadySeconds"], spec["progressDeadlineSeconds"]) == (1_000_000, 2_000_000)
    valid(
        helm.render(f"--values={CHART / 'ci' / 'tls-values.yaml'}", f"--values={file}", "--set=sandbox.enabled=false")
    )


def test_the_features_have_names_too(helm: Helm) -> None:
    assert FEATURES
    valid(helm.render(f"--values={CHART / 'ci' / 'everything-values.yaml'}"))

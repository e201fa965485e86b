"""What the chart does for whoever watches the gateway, and scales it by what they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from allocation_gateway.telemetry import variables
from support.chart import CHART, Rendered

if TYPE_CHECKING:
    from support.chart import Helm

pytestmark = pytest.mark.chart

COMPLETE = (
    "--set=ship.apiKeySecret.name=ship",
    "--set=tls.secretName=gateway-tls",
    "--set=store.urlSecret.name=store",
)
POLICY = "--set=networkPolicy.enabled=true"
# Those of DNS, of the Ship API and of the store.
USUAL = [53, 53, 443, 6379]


@pytest.fixture(scope="module")
def monitored(helm: Helm) -> Rendered:
    """The chart with the values of the feature."""
    return helm.render(f"--values={CHART / 'ci' / 'monitoring-values.yaml'}")


def otel(rendered: Rendered) -> dict[str, str]:
    return {name: text for name, text in rendered.environment.items() if name.startswith("OTEL_")}


def egress(rendered: Rendered) -> list[int]:
    return [port["port"] for rule in rendered.one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]


def test_pods_offer_metrics_where_a_scrape_arrives(monitored: Rendered, helm: Helm) -> None:
    assert otel(monitored) == {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": monitored.environment["ALLOCATION_GATEWAY_HOST"],
        "OTEL_EXPORTER_PROMETHEUS_PORT": "9100",
    }
    variables.check(otel(monitored))
    ports = {port["name"]: port["containerPort"] for port in monitored.container["ports"]}
    assert ports["metrics"] == 9100
    both = helm.render(*COMPLETE, "--set=metrics.prometheus.enabled=true,service.ipFamilyPolicy=PreferDualStack")
    assert otel(both)["OTEL_EXPORTER_PROMETHEUS_HOST"] == "::"
    assert "metrics" not in {port["name"] for port in helm.render(*COMPLETE).container["ports"]}


def test_the_port_of_metrics_is_not_in_the_service_that_may_be_public(monitored: Rendered) -> None:
    assert [port["name"] for port in monitored.one("Service")["spec"]["ports"]] == ["grpc"]


def test_monitors_find_the_port_of_metrics(monitored: Rendered) -> None:
    headless = monitored.one("Service", "headless")
    service_monitor, pod_monitor = monitored.one("ServiceMonitor"), monitored.one("PodMonitor")
    (endpoint,) = service_monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in headless["spec"]["ports"]]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("30s", "10s")
    assert service_monitor["metadata"]["labels"]["release"] == "prometheus"
    selector = service_monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= headless["metadata"]["labels"].items()
    assert not selector.items() <= monitored.one("Service")["metadata"]["labels"].items()
    pods = monitored.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert pod_monitor["spec"]["selector"]["matchLabels"].items() <= pods.items()
    (endpoint,) = pod_monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in monitored.container["ports"]]


def test_only_who_may_scrape_gets_to_the_metrics(monitored: Rendered) -> None:
    calls, metrics = monitored.one("NetworkPolicy")["spec"]["ingress"]
    assert ([port["port"] for port in calls["ports"]], "from" in calls) == (["grpc"], False)
    assert [port["port"] for port in metrics["ports"]] == ["metrics"]
    assert list(metrics["from"][0]) == ["namespaceSelector"]


def test_pods_are_scaled_by_the_calls_that_they_have_in_hand(monitored: Rendered, helm: Helm) -> None:
    (metric,) = monitored.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"] == {"name": "allocation_gateway_calls_in_hand"}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "50"}
    both = helm.render(*COMPLETE, "--set=autoscaling.enabled=true,autoscaling.targetCallsInHand=50")
    kinds = [metric["type"] for metric in both.one("HorizontalPodAutoscaler")["spec"]["metrics"]]
    assert kinds == ["ContainerResource", "Pods"]


TRACES, METRICS, LOGS = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" for signal in variables.SIGNALS)
ALL, PROTOCOL = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        ({}, []),
        ({ALL: "http://collector:4317"}, [4317]),
        ({ALL: "collector:4317"}, [4317]),
        ({ALL: "dns:///collector.telemetry:4317"}, [4317]),
        ({ALL: "ipv4:192.0.2.1:4317,192.0.2.2:4318"}, [4317, 4318]),
        ({ALL: "unix:///run/collector"}, []),
        ({ALL: "http://localhost:4317"}, []),
        ({ALL: "https://[2001:db8::1]:4317"}, [4317]),
        ({ALL: "http://collector"}, [443]),
        ({ALL: "http://collector", PROTOCOL: "http/protobuf"}, [80]),
        ({ALL: "https://collector/otlp", PROTOCOL: "http/protobuf"}, [443]),
        ({TRACES: "http://traces:1"}, [1]),
        ({TRACES: "http://traces:1", METRICS: "http://metrics:2", LOGS: "http://logs:3"}, [1, 2, 3]),
        ({ALL: "http://collector:9", METRICS: "http://metrics:2"}, [9, 2]),
        ({ALL: "http://collector:9", TRACES: "http://traces:1", METRICS: "http://metrics:2"}, [1, 2]),
        (
            {ALL: "http://collector:9", "OTEL_LOGS_EXPORTER": "otlp", TRACES: "http://t:1", METRICS: "http://m:2"},
            [1, 2, 9],
        ),
        ({ALL: "http://collector:9", "OTEL_TRACES_EXPORTER": "none", METRICS: "http://metrics:2"}, [2]),
        ({ALL: "http://collector:9", "OTEL_TRACES_EXPORTER": "console, otlp", METRICS: "http://metrics:2"}, [9, 2]),
        ({ALL: "http://collector:9", "OTEL_SDK_DISABLED": "true"}, []),
        ({"OTEL_METRICS_EXPORTER": "prometheus", TRACES: "http://traces:1"}, [1]),
    ],
    ids=lambda value: " ".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_a_network_policy_lets_signals_out_to_where_they_are_sent(
    helm: Helm, given: dict[str, str], ports: list[int]
) -> None:
    variables.check(given)
    escaped = {name: text.replace(",", "\\,") for name, text in given.items()}
    rendered = helm.render(*COMPLETE, POLICY, *(f"--set-string=otel.{name}={text}" for name, text in escaped.items()))
    assert egress(rendered) == USUAL + ports


def test_variables_of_extra_env_count_too(helm: Helm) -> None:
    extra = f"--set=extraEnv[0].name={TRACES},extraEnv[0].value=http://traces:7"
    assert egress(helm.render(*COMPLETE, POLICY, extra)) == [*USUAL, 7]


def test_numbers_reach_the_gateway_as_numbers(helm: Helm) -> None:
    rendered = helm.render(f"--values={CHART / 'ci' / 'opentelemetry-values.yaml'}")
    found: dict[str, Any] = otel(rendered)
    assert found["OTEL_BSP_MAX_QUEUE_SIZE"] == "1000000"
    variables.check(found)
    assert egress(rendered) == [*USUAL, 4317, 443, 4319]

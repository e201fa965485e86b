"""What is edited in the cluster is used without a rollout, and what is wrong never replaces what works."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway_client import AllocationError, Client, Tls
from support.certificates import Authority
from support.chart import CHART, NAME

from e2e.control_plane import KEY, helm
from e2e.release import alive, released, uids, upgrade
from e2e.situations import HOST, SERVICE, Loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.sandbox import Sandbox

    from e2e.control_plane import Kubernetes
    from e2e.situations import Situation

pytestmark = pytest.mark.e2e

_PORT: Final = 50051
_CATALOGUE: Final = """
service_groups:
  - code: valuableGoods
    display_name: {name}
    api: ship
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the gateway's certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


def certify(kubernetes: Kubernetes, authority: Authority) -> str:
    """Gives the gateway a new certificate, which is returned."""
    chain, key = authority.issue("gateway", host=HOST)
    kubernetes.set_data("Secret", "gateway-tls", {"tls.crt": chain.read_bytes(), "tls.key": key.read_bytes()})
    return chain.read_text()


@pytest.fixture(scope="module")
def secured(
    kubernetes: Kubernetes, sandbox: Sandbox, store: str, authority: Authority
) -> Iterator[tuple[Sequence[str], str]]:
    """A release with TLS and a catalogue, by its values and its first certificate."""
    certificate = certify(kubernetes, authority)
    kubernetes.set_data("ConfigMap", "groups", {"service-groups.yaml": _CATALOGUE.format(name="Gold").encode()})
    more = ("--set=tls.secretName=gateway-tls", "--set=serviceGroups.catalogue.configMapName=groups")
    with released(kubernetes, store, *more) as values:
        yield values, certificate


def served(kubernetes: Kubernetes) -> list[str]:
    """Returns the certificates that the pods show."""
    return [ssl.get_server_certificate((address, _PORT)) for address in kubernetes.ready(NAME)]


@pytest.fixture
def secured_loads(sandbox: Sandbox, situations: list[Situation], authority: Authority) -> Loads:
    """Load on the release by the one address of its Service."""
    return Loads(sandbox, situations, SERVICE, Tls(authority.file, server_name=HOST))


def test_a_certificate_is_replaced(
    kubernetes: Kubernetes, secured: tuple[Sequence[str], str], authority: Authority, secured_loads: Loads
) -> None:
    before = alive(kubernetes)
    with secured_loads.during("certificate replaced, with TLS, by the ClusterIP") as situation:
        new = certify(kubernetes, authority)
        kubernetes.wait("all pods show the new certificate", lambda: served(kubernetes) == [new] * 2, 30)
    situation.check()
    assert alive(kubernetes) == before


def test_a_rolling_upgrade_with_tls_by_the_service(
    kubernetes: Kubernetes, secured: tuple[Sequence[str], str], secured_loads: Loads
) -> None:
    values, _ = secured
    before = uids(kubernetes)
    with secured_loads.during("rolling upgrade, with TLS, by the ClusterIP") as situation:
        upgrade(kubernetes, values, "--set=image.tag=next")
    assert not before & uids(kubernetes)
    situation.check()


def test_a_catalogue_is_edited(
    kubernetes: Kubernetes, secured: tuple[Sequence[str], str], authority: Authority
) -> None:
    before = alive(kubernetes)
    new = _CATALOGUE.format(name="Platinum").encode()

    def name(address: str) -> str:
        tls = Tls(ca_file=authority.file, server_name=HOST)
        with Client(f"{address}:{_PORT}", tls=tls, timeout=10) as client:
            return client.get_service_group("valuableGoods").service_group.display_name

    addresses = kubernetes.ready(NAME)
    assert [name(address) for address in addresses] == ["Gold"] * 2
    kubernetes.set_data("ConfigMap", "groups", {"service-groups.yaml": new})
    kubernetes.wait("all pods use it", lambda: [name(address) for address in addresses] == ["Platinum"] * 2, 30)
    assert alive(kubernetes) == before


def test_a_key_is_replaced(kubernetes: Kubernetes, secured: tuple[Sequence[str], str], authority: Authority) -> None:
    before = alive(kubernetes)

    def works(address: str) -> bool:
        tls = Tls(ca_file=authority.file, server_name=HOST)
        with Client(f"{address}:{_PORT}", tls=tls, timeout=10) as client:
            try:
                client.get_shipment_allocation("sp_00794403010635468411384028069888")
            except AllocationError as error:
                return "UPSTREAM" not in error.reason
            return True

    addresses = kubernetes.ready(NAME)
    assert all(works(address) for address in addresses)
    kubernetes.set_data("Secret", "ship", {"api-key": b"another-key"})
    kubernetes.wait("upstream refuses the new key", lambda: not any(works(address) for address in addresses), 30)
    kubernetes.set_data("Secret", "ship", {"api-key": KEY.encode()})
    kubernetes.wait("upstream takes the key", lambda: all(works(address) for address in addresses), 30)
    assert alive(kubernetes) == before


def test_the_check_stops_a_bad_configuration(kubernetes: Kubernetes, secured: tuple[Sequence[str], str]) -> None:
    before = alive(kubernetes)
    values, _ = secured
    bad = "--set-string=otel.OTEL_TRACES_SAMPLER=sometimes"
    done = helm(kubernetes, "upgrade", NAME, str(CHART), "--wait", "--timeout=60s", *values, bad)
    assert done.returncode != 0
    assert "OTEL_TRACES_SAMPLER" in done.stdout + done.stderr
    assert alive(kubernetes) == before
    assert len(kubernetes.ready(NAME)) == 2

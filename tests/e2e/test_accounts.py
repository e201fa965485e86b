"""A company's release by the files of docs/operating.md, whose accounts and policy are edited under load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway_client import AllocationError, Client, Tls
from cryptography import x509
from support.certificates import Authority
from support.chart import CHART, NAME, ROOT

from e2e.connections import OUTSIDE
from e2e.control_plane import KEY
from e2e.custom_metrics import series
from e2e.release import UPSTREAM, alive, installed
from e2e.situations import HEADLESS, HOST, Loads, Situation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sandbox import Sandbox

    from e2e.control_plane import Kubernetes

pytestmark = pytest.mark.e2e

_ACCOUNTS: Final = (ROOT / "docs" / "examples" / "accounts.toml").read_text()
_POLICY: Final = (ROOT / "docs" / "examples" / "policy.toml").read_text()
_NEW_ACCOUNT: Final = """
[accounts.outlet.ship]
api_key_file = "/etc/account-keys/outlet-ship"
"""
_NEW_RULE: Final = """
[[rules]]
name = "outlet"
callers = ["spiffe://shop.example/ns/outlet/sa/*"]
rpcs = ["reads", "single"]
accounts = ["outlet"]
"""
_ARRIVES: Final = 30.0


def set_accounts(kubernetes: Kubernetes, text: str) -> None:
    kubernetes.set_data("ConfigMap", "accounts", {"accounts.toml": text.encode()})


def set_policy(kubernetes: Kubernetes, text: str) -> None:
    kubernetes.set_data("ConfigMap", "policy", {"policy.toml": text.encode()})


class Team:
    """A caller by its client certificate."""

    def __init__(self, authority: Authority, name: str) -> None:
        uri = x509.UniformResourceIdentifier(f"spiffe://shop.example/ns/{name}/sa/orders")
        certificate, key = authority.issue(name, names=[uri])
        self.tls = Tls(authority.file, certificate, key, HOST)

    def reads(self, address: str) -> str:
        """Reads a shipment at a pod. Returns the reason if it is refused."""
        with Client(f"{address}:50051", tls=self.tls, timeout=10) as client:
            try:
                client.get_shipment_allocation("sp_00794403010635468411384028069888")
            except AllocationError as error:
                return error.reason
            return ""

    def allocates(self, address: str, reference: str) -> None:
        """Allocates a shipment at a pod."""
        with Client(f"{address}:50051", tls=self.tls, timeout=10) as client:
            client.allocate_shipment(reference)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of the gateway and of its callers."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def company(kubernetes: Kubernetes, sandbox: Sandbox, store: str, authority: Authority) -> Iterator[None]:
    """The release."""
    chain, key = authority.issue("gateway", host=HOST)
    tls = {"tls.crt": chain.read_bytes(), "tls.key": key.read_bytes()}
    kubernetes.set_data("Secret", "allocation-gateway-tls", tls)
    kubernetes.set_data("Secret", "callers", {"ca.crt": authority.file.read_bytes()})
    kubernetes.set_data("Secret", "store", {"url": store.encode()})
    names = ("retail-ship", "wholesale-ship", "wholesale-consignments", "outlet-ship")
    kubernetes.set_data("Secret", "account-keys", dict.fromkeys(names, KEY.encode()))
    set_accounts(kubernetes, _ACCOUNTS)
    set_policy(kubernetes, _POLICY)
    callers = json.dumps([{"ipBlock": {"cidr": str(OUTSIDE)}}])
    with installed(
        kubernetes,
        f"--values={CHART / 'ci' / 'company-values.yaml'}",
        f"--set=image.repository={NAME}",
        f"--set-string=settings.ship_base_url={UPSTREAM}/pro",
        f"--set-string=settings.consignments_base_url={UPSTREAM}",
        "--set=settings.allow_plaintext=true",
        # The cluster has no metrics of CPU, no operator of Prometheus, and no other namespaces with callers.
        "--set=autoscaling.enabled=false",
        "--set=metrics.podMonitor.enabled=false",
        f"--set-json=networkPolicy.from={callers}",
    ):
        yield


@pytest.mark.usefixtures("company")
def test_accounts_and_policy_are_edited(
    kubernetes: Kubernetes, sandbox: Sandbox, authority: Authority, situations: list[Situation]
) -> None:
    retail, outlet = Team(authority, "retail"), Team(authority, "outlet")
    before, addresses = alive(kubernetes), kubernetes.ready(NAME)
    (reference,) = Loads.take(1)

    def told() -> set[str]:
        return {outlet.reads(address) for address in addresses}

    def usable(file: str) -> set[float]:
        found = [series(address, "allocation_gateway_file_usable") for address in addresses]
        return {value for one in found for labels, value in one.items() if f'"{file}"' in labels}

    assert len(addresses) == 2
    with Loads(sandbox, situations, HEADLESS, retail.tls).during("policy and accounts edited, with TLS") as situation:
        assert told() == {"CALLER_NOT_ALLOWED"}
        set_policy(kubernetes, _POLICY + _NEW_RULE)
        kubernetes.wait("the new rule is in use", lambda: told() == {"ACCOUNT_NOT_FOUND"}, _ARRIVES)
        set_accounts(kubernetes, _ACCOUNTS + _NEW_ACCOUNT)
        kubernetes.wait("the new account is in use", lambda: told() == {""}, _ARRIVES)
        outlet.allocates(addresses[0], reference)
        # What is wrong is seen, and replaces nothing.
        set_policy(kubernetes, _POLICY + _NEW_RULE.replace("callers", "caller"))
        set_accounts(kubernetes, _ACCOUNTS + _NEW_ACCOUNT.replace("api_key_file", "key"))
        kubernetes.wait("the bad policy is seen", lambda: usable("policy_file") == {0}, _ARRIVES)
        kubernetes.wait("the bad accounts are seen", lambda: usable("accounts_file") == {0}, _ARRIVES)
        assert told() == {""}
        set_accounts(kubernetes, _ACCOUNTS + _NEW_ACCOUNT)
        set_policy(kubernetes, _POLICY)
        kubernetes.wait("the rule is gone", lambda: told() == {"CALLER_NOT_ALLOWED"}, _ARRIVES)
    situation.check()
    assert sandbox.bookings(reference) == (1, 0)
    assert alive(kubernetes) == before

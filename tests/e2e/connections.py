"""Sees every connection that begins in the network of the cluster, and holds those of pods to their NetworkPolicy."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

Object = dict[str, Any]

PODS: Final = ipaddress.ip_network("10.64.0.0/17")
# Nodes, and what is outside of the cluster, such as callers.
OUTSIDE: Final = ipaddress.ip_network("10.64.254.0/23")
_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
_PROTOCOLS: Final = {_TCP: "TCP", _UDP: "UDP"}
# Whence connections to Services are forwarded to pods, which elsewhere come from who made them: see network.go.
_FORWARDER: Final = "10.64.255.9"
# Names are asked for by UDP, and by TCP only if an answer is too long for that: those of this cluster never are.
_OPTIONAL: Final = frozenset({("egress", "TCP", 53)})
_SNAPSHOT: Final = 128
_INTERVAL: Final = 0.2
# Nobody is there.
_NOBODY: Final = "10.64.254.250"
_PATIENCE: Final = 30.0
_PROBES: Final = ("startup", "liveness", "readiness")

# Lets pass what begins a connection, as the kernel's filter of packets reads it from the header of IP on: TCP with SYN
# and without ACK, and UDP but for the answers of name servers.
_FILTER: Final = (
    (0x30, 0, 0, 0),  # the version, and the length of the header
    (0x54, 0, 0, 0xF0),
    (0x15, 0, 11, 0x40),
    (0x30, 0, 0, 9),  # the protocol
    (0x15, 0, 4, _TCP),
    (0xB1, 0, 0, 0),  # the length of the header
    (0x50, 0, 0, 13),  # the flags behind it
    (0x54, 0, 0, 0x12),
    (0x15, 4, 5, 0x02),
    (0x15, 0, 4, _UDP),
    (0xB1, 0, 0, 0),
    (0x48, 0, 0, 0),  # the port that it comes from
    (0x15, 1, 0, 53),
    (0x06, 0, 0, _SNAPSHOT),
    (0x06, 0, 0, 0),
)
_SO_ATTACH_FILTER: Final = 26
# All protocols: sockets for a single one are not shown what is sent.
_ALL: Final = 3


@dataclass(frozen=True, order=True)
class Flow:
    """Who connected to whom.

    Attributes:
        source: The address of who did.
        target: The address that was called: that of a pod, or of a Service.
        protocol: TCP or UDP.
        port: The port that was called.
    """

    source: str
    target: str
    protocol: str
    port: int

    @property
    def told(self) -> str:
        """It, as text."""
        return f"{self.source} to {self.target}:{self.port} by {self.protocol}"


@dataclass(frozen=True)
class Pod:
    """What is known of a pod, also when it is gone.

    Attributes:
        name: Its name.
        labels: Its labels.
        ports: Its ports by name.
        probed: The ports that its node asks how it is.
    """

    name: str
    labels: dict[str, str]
    ports: dict[str, int]
    probed: frozenset[int]

    def port(self, wanted: str | int) -> int | None:
        """Returns a port by its name or number."""
        return self.ports.get(wanted) if isinstance(wanted, str) else wanted


def _open() -> socket.socket:
    listening = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL))
    program = b"".join(struct.pack("HBBI", *line) for line in _FILTER)
    buffer = ctypes.create_string_buffer(program)
    listening.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_FILTER), ctypes.addressof(buffer))
    )
    # What came before there was a filter.
    listening.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            listening.recv(_SNAPSHOT)
    listening.settimeout(_INTERVAL)
    return listening


class Connections:
    """Sees connections from the moment that it is made until it is closed."""

    def __init__(self) -> None:
        self._flows: set[Flow] = set()
        self._changed = threading.Condition()
        self._own = 0
        self._pods: dict[str, Pod] = {}
        self._socket = _open()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._see, name="connections", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Sees no more."""
        self._closed.set()
        self._thread.join()
        self._socket.close()

    def _see(self) -> None:
        while not self._closed.is_set():
            try:
                packet = self._socket.recv(_SNAPSHOT)
            except TimeoutError:
                continue
            header = (packet[0] & 15) * 4
            source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            port = int.from_bytes(packet[header + 2 : header + 4], "big")
            with self._changed:
                self._flows.add(Flow(source, target, _PROTOCOLS[packet[9]], port))
                self._changed.notify_all()

    def _catch_up(self) -> None:
        """Waits until all is seen that came before: a packet of its own comes last."""
        self._own += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"last", (_NOBODY, self._own))

        def came() -> bool:
            return any((flow.target, flow.port) == (_NOBODY, self._own) for flow in self._flows)

        with self._changed:
            assert self._changed.wait_for(came, _PATIENCE), "packets are not seen"

    def note(self, pod: Object) -> None:
        """Remembers whose address it is."""
        address = pod.get("status", {}).get("podIP")
        if address:
            containers = pod["spec"]["containers"]
            ports = {
                port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])
            }
            probes = [container.get(f"{kind}Probe", {}) for container in containers for kind in _PROBES]
            asked = {probe[way]["port"] for probe in probes for way in ("grpc", "httpGet") if way in probe}
            probed = frozenset(ports.get(port, port) for port in asked)
            self._pods[address] = Pod(pod["metadata"]["name"], pod["metadata"].get("labels", {}), ports, probed)

    def pods(self) -> set[str]:
        """Returns the addresses of all pods that there were so far."""
        return set(self._pods)

    def flows(self, services: Sequence[Object]) -> set[Flow]:
        """Returns all connections to and from pods so far. Those to Services are to each of their pods."""
        self._catch_up()
        with self._changed:
            seen = set(self._flows)
        by_address = {service["spec"].get("clusterIP"): service["spec"] for service in services}
        found: set[Flow] = set()
        for flow in seen:
            service = by_address.get(flow.target)
            if service is None or not service.get("selector"):
                found.add(flow)
                continue
            for address, pod in self._pods.copy().items():
                if service["selector"].items() <= pod.labels.items():
                    ports = {pod.port(port["targetPort"]) for port in service["ports"] if port["port"] == flow.port}
                    found |= {Flow(flow.source, address, flow.protocol, port) for port in ports if port is not None}
        return {
            flow
            for flow in found
            if flow.source != _FORWARDER and any(_is_pod(address) for address in (flow.source, flow.target))
        }

    def compare(
        self, policies: Sequence[Object], services: Sequence[Object], since: set[str]
    ) -> tuple[list[str], list[str]]:
        """Compares connections of new pods with what policies allow.

        Args:
            policies: The NetworkPolicies that were there.
            services: The Services that were there.
            since: The addresses of pods that are not looked at, since they were there before.

        Returns:
            What was used although no policy allows it, and what policies allow although nothing used it.
        """
        flows = sorted(self.flows(services))
        refused: list[str] = []
        unused: list[str] = []
        for policy in policies:
            spec = policy["spec"]
            held = {
                address: pod
                for address, pod in self._pods.copy().items()
                if address not in since and _selects(spec["podSelector"], pod.labels)
            }
            used: set[tuple[str, int, int]] = set()
            for flow in flows:
                for way, own, peer in (("egress", flow.source, flow.target), ("ingress", flow.target, flow.source)):
                    pod = held.get(own)
                    # Probes come from the pod's own node, which policies do not keep out.
                    is_probe = way == "ingress" and pod is not None and flow.port in pod.probed and _is_outside(peer)
                    if pod is None or is_probe:
                        continue
                    matched = {
                        (way, place, index)
                        for place, rule in enumerate(spec.get(way) or [])
                        for index, port in enumerate(rule.get("ports", []))
                        if _port_matches(port, flow, pod if way == "ingress" else self._pods.get(peer))
                        and self._peer_matches(rule.get("from" if way == "ingress" else "to"), peer)
                    }
                    used |= matched
                    if not matched:
                        refused.append(f"{policy['metadata']['name']}: {way} of {pod.name}: {flow.told}")
            for way in ("ingress", "egress"):
                for place, rule in enumerate(spec.get(way) or []):
                    for index, port in enumerate(rule.get("ports", [])):
                        optional = (way, port.get("protocol", "TCP"), port["port"]) in _OPTIONAL
                        if (way, place, index) not in used and not optional:
                            unused.append(f"{policy['metadata']['name']}: {way} by {port}")
        return refused, unused

    def _peer_matches(self, peers: Sequence[Object] | None, address: str) -> bool:
        return peers is None or any(self._is_peer(peer, address) for peer in peers)

    def _is_peer(self, peer: Object, address: str) -> bool:
        if "ipBlock" in peer:
            assert set(peer["ipBlock"]) == {"cidr"}, peer
            return ipaddress.ip_address(address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        assert set(peer) == {"podSelector"}, f"{peer}: that is not known here"
        pod = self._pods.get(address)
        return pod is not None and _selects(peer["podSelector"], pod.labels)


def _is_pod(address: str) -> bool:
    return ipaddress.ip_address(address) in PODS


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    assert set(selector) == {"matchLabels"}, selector
    wanted: dict[str, str] = selector["matchLabels"]
    return wanted.items() <= labels.items()


def _is_outside(address: str) -> bool:
    return ipaddress.ip_address(address) in OUTSIDE


def _port_matches(port: Object, flow: Flow, target: Pod | None) -> bool:
    wanted = port["port"] if target is None else target.port(port["port"])
    return (port.get("protocol", "TCP"), wanted) == (flow.protocol, flow.port)

"""The soak: clients in five languages call gateways for a long time, through proxies, while these are restarted.

Usage: PYTHONPATH=tests python -m soak.run [--seconds N] [--engine NAME] [--pause MILLISECONDS]. SOAK_SECONDS,
SOAK_ENGINE and SOAK_PAUSE are the same as the options. It fails if a call is lost that was tried again as often as the
clients' policy says, or if the memory or the descriptors of a gateway that stays, or of a proxy, keep growing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support.certificates import Authority
from support.upstream import running_upstream, shipped
from support.workers import wait_until
from wire.building import HERE, contract, go_program, java_classes, node_modules, rust_programs, tool
from wire.test_nginx import listens

from bench import building
from soak import proxies
from soak.gateways import Fleet, free_addresses, program, use

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

_ATTEMPTS: Final = 4
_BETWEEN_ROLLS: Final = 60.0
_BETWEEN_SAMPLES: Final = 5.0
_START_SECONDS: Final = 60.0
# For the last calls of each client, and for its start.
_GRACE_SECONDS: Final = 120.0
# How much more the last third of the samples may have than the middle one: in MiB, and in descriptors.
_MEMORY_GROWTH: Final = 8.0
_DESCRIPTOR_GROWTH: Final = 16
_FEWEST_SAMPLES: Final = 9


@dataclass
class Samples:
    """What a process had in use, time by time."""

    memory: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def add(self, pid: int) -> None:
        """Looks at the process."""
        memory, descriptors = use(pid)
        self.memory.append(memory)
        self.descriptors.append(descriptors)

    def growth(self) -> tuple[float, float]:
        """Returns how much more the last third had than the middle one, of memory and of descriptors."""
        return _growth(self.memory), _growth(self.descriptors)


def _growth(samples: Sequence[float]) -> float:
    third = len(samples) // 3
    return statistics.median(samples[-third:]) - statistics.median(samples[third : 2 * third])


def commands(arguments: argparse.Namespace, authority: str) -> Mapping[str, list[str]]:
    """Builds the clients. Returns how each is run, without the routes."""
    first = [str(arguments.seconds), str(arguments.pause), str(_ATTEMPTS)]
    descriptors = str(contract())
    os.environ["MODULES"] = str(node_modules("connect"))
    java = [tool("java"), "-Xmx256m", "-cp", java_classes(), "Soak"]
    return {
        "go": [str(go_program("soak")), *first, authority],
        "java": [*java, *first, descriptors, authority],
        "tonic": [str(rust_programs() / "soak"), *first, authority],
        "connect": [tool("node"), str(HERE / "connect" / "soak.mjs"), *first, descriptors, authority],
        "python": [sys.executable, "-m", "soak.client", *first, authority],
    }


def soak(arguments: argparse.Namespace, folder: Path, stack: ExitStack) -> list[str]:
    """Runs everything, and prints what came of it. Returns what is wrong."""
    authority = Authority(folder)
    certificate, key = map(str, authority.issue("gateway"))
    files = {"authority": str(authority.file), "certificate": certificate, "key": key}
    building.install_envoy()
    languages = commands(arguments, files["authority"])
    upstream = stack.enter_context(running_upstream())
    upstream.default = shipped
    tls = {"TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key}
    fleets = {
        "plain": Fleet(stack, upstream.url, arguments.engine, {}),
        "tls": Fleet(stack, upstream.url, arguments.engine, tls),
    }
    gateways = {name: fleet.addresses for name, fleet in fleets.items()}
    envoy_plain, envoy_tls, nginx_plain, nginx_tls = free_addresses(4)
    envoy = {"plain": envoy_plain, "tls": envoy_tls}
    nginx = {"plain": nginx_plain, "tls": nginx_tls}
    (folder / "nginx.conf").write_text(proxies.nginx(folder, nginx, gateways, files))
    in_front = {
        "envoy": [building.envoy(), "--log-level", "warn", "--config-yaml", proxies.envoy(envoy, gateways, files)],
        "nginx": [_nginx(), "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"],
    }
    running = {name: stack.enter_context(program(command, folder / name)) for name, command in in_front.items()}
    for address in (*envoy.values(), *nginx.values()):
        wait_until(partial(listens, address), f"nobody listens at {address}", _START_SECONDS)
    routes = [
        f"direct={','.join(gateways['plain'])}",
        f"tls-direct={','.join(gateways['tls'])}",
        *(f"{name}={where['plain']}" for name, where in (("envoy", envoy), ("nginx", nginx))),
        *(f"tls-{name}={where['tls']}" for name, where in (("envoy", envoy), ("nginx", nginx))),
    ]
    clients = {
        name: stack.enter_context(program([*command, *routes], folder / f"client-{name}"))
        for name, command in languages.items()
    }
    samples = {name: Samples() for name in ("gateway plain", "gateway tls", *running)}
    _roll(arguments.seconds, fleets, running, samples)
    wrong = []
    for name, client in clients.items():
        code = client.wait(_GRACE_SECONDS)
        wrong += _judged(name, code, (folder / f"client-{name}").read_text(), len(routes))
    return wrong + _flat(samples, fleets)


def _nginx() -> str:
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert found is not None, "nginx is missing"
    return found


def _roll(
    seconds: int,
    fleets: Mapping[str, Fleet],
    running: Mapping[str, subprocess.Popen[bytes]],
    samples: dict[str, Samples],
) -> None:
    """Restarts gateways one after the other each minute, and looks at what is in use."""
    end = time.monotonic() + seconds
    next_roll = time.monotonic() + _BETWEEN_ROLLS / 2
    while (now := time.monotonic()) < end:
        if now >= next_roll:
            next_roll += _BETWEEN_ROLLS
            for number in range(len(fleets["plain"].addresses) - 1):
                for fleet in fleets.values():
                    fleet.restart(number)
        for name, fleet in fleets.items():
            samples[f"gateway {name}"].add(fleet.standing.process.pid)
        for name, proxy in running.items():
            assert proxy.poll() is None, f"{name} has ended"
            samples[name].add(proxy.pid)
        time.sleep(max(0.0, min(_BETWEEN_SAMPLES, end - time.monotonic())))


def _judged(name: str, code: int, told: str, routes: int) -> list[str]:
    """Prints what a client tells. Returns what is wrong with it."""
    wrong = [] if code == 0 else [f"{name} ended with {code}"]
    lines = told.splitlines()
    if not lines or len(lines) % routes:
        wrong.append(f"{name} tells of {len(lines)} routes, and there are {routes}")
    for line in sorted(lines):
        language, route, calls, again, lost, *why = line.split(maxsplit=5)
        print(f"{language:<8} {route:<11} {calls:>7} calls {again:>5} tried again {lost:>5} lost")
        if int(lost) or not int(calls):
            wrong.append(f"{language} {route}: {lost} of {calls} calls are lost: {' '.join(why)[:1000]}")
    return wrong


def _flat(samples: Mapping[str, Samples], fleets: Mapping[str, Fleet]) -> list[str]:
    wrong = []
    for name, taken in samples.items():
        if len(taken.memory) < _FEWEST_SAMPLES:
            wrong.append(f"{name}: {len(taken.memory)} samples are too few to tell whether anything grows")
            continue
        memory, descriptors = taken.growth()
        first, most = taken.memory[0], max(taken.memory)
        print(
            f"{name:<13} {first:6.1f} MiB at first {most:6.1f} at most {memory:+6.1f} in the end, "
            f"{max(taken.descriptors):4} descriptors at most {descriptors:+6.1f} in the end"
        )
        if memory > _MEMORY_GROWTH or descriptors > _DESCRIPTOR_GROWTH:
            wrong.append(f"{name} keeps growing")
    for name, fleet in fleets.items():
        print(f"gateway {name}: {len(fleet.pauses)} restarts, of {max(fleet.pauses, default=0.0):.1f} s at most")
    return wrong


def main() -> None:
    """Runs it as the command line says."""
    parser = argparse.ArgumentParser(description="Calls gateways for a long time, through proxies and restarts.")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SOAK_SECONDS", "600")))
    parser.add_argument("--engine", default=os.environ.get("SOAK_ENGINE", "direct"))
    parser.add_argument("--pause", type=int, default=int(os.environ.get("SOAK_PAUSE", "100")))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        wrong = soak(arguments, Path(folder), stack)
    for one in wrong:
        print(f"WRONG: {one}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

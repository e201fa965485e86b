"""What a caller saves, `make bench-callers`: CPU time and lines of code, of each client, its stubs, and REST by hand.

The programs are in bench/languages. A way by REST has the repetitions that it needs: an allocation whose answer was
lost is looked for, and sent again if it is not there. That of a stub has none.

Environment:
    BENCH_LANGUAGES: Which languages, separated by commas; all of them if empty.
    BENCH_QUICK: If set, one short round, to see that everything works. Nothing is written to docs/ then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from bench import building, machine
from bench.contenders import CONTENDERS
from bench.documents import put_between_marks
from bench.machine import CACHE, ROOT
from bench.measuring import stage
from bench.payloads import GROUP, OWN, REFERENCE
from bench.processes import FailedError, cpu_seconds, end_in_order, running
from bench.results import spread
from bench.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.machine import Cores

HERE: Final = ROOT / "bench" / "languages"
WAYS: Final = ("client", "stub", "direct")
# At most so much may a client take of what its stubs take.
_MOST: Final = 1.1
_ROUNDS: Final = 5
_MICRO: Final = 1e6
_STOP: Final = 10.0
_DOCUMENT: Final = ROOT / "docs" / "clients.md"
_BEGIN: Final = "<!-- callers: written by `make bench-callers` -->"
_END: Final = "<!-- /callers -->"
_COMMENTS: Final = ("//", "#", "*", "/*", '"""')
_COPYING: Final = ("dependency:copy-dependencies", "-DincludeScope=runtime")


@dataclass(frozen=True)
class Language:
    """A language that is measured.

    Attributes:
        title: What it is called in the report.
        http: What its way by REST is made of.
        in_flight: How many calls are under way at once.
        warm_up: Calls before the measured ones.
        calls: How many are measured.
        files: The sources of a way, by its name.
        build: Makes ready, and returns the command.
    """

    title: str
    http: str
    in_flight: int
    warm_up: int
    calls: int
    files: Mapping[str, str]
    build: Callable[[], Sequence[str]]


class Sample(NamedTuple):
    """What one round of one way gave."""

    language: str
    way: str
    cpu_us: float


def build_go() -> Sequence[str]:
    """Builds the program in Go."""
    program = CACHE / "caller-go"
    subprocess.run(["go", "-C", str(HERE / "go"), "build", "-o", str(program), "."], check=True)
    return [str(program)]


def build_node() -> Sequence[str]:
    """Installs what the program for Node needs, the client among it as its package."""
    folder = CACHE / "caller-node"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "node", folder)
    subprocess.run(["make", "--no-print-directory", "-C", str(ROOT), "dist-typescript"], check=True)
    (package,) = (ROOT / "dist").glob("allocation-gateway-client-*.tgz")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", str(package)]
    subprocess.run(command, check=True, cwd=folder)
    return ["node", str(folder / "main.mjs")]


def build_java() -> Sequence[str]:
    """Compiles the program in Java, with the client as its artifact."""
    folder = CACHE / "caller-java"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["make", "--no-print-directory", "-C", str(ROOT), "dist-java"], check=True)
    fetched = [f"-Dclient.repository=file://{ROOT}/dist/maven", f"-DoutputDirectory={folder / 'jars'}"]
    # In a repository of its own, for an earlier client may be in that of the user.
    own = f"-Dmaven.repo.local={CACHE / 'maven'}"
    shutil.rmtree(CACHE / "maven" / "com" / "allocationgateway", ignore_errors=True)
    command = ["mvn", "--quiet", "--batch-mode", f"--file={HERE / 'java' / 'pom.xml'}", own, *_COPYING, *fetched]
    subprocess.run(command, check=True)
    sources = map(str, sorted((HERE / "java").glob("*.java")))
    subprocess.run(["javac", "--release", "11", "-cp", f"{folder}/jars/*", "-d", str(folder), *sources], check=True)
    return ["java", "-cp", f"{folder}{os.pathsep}{folder}/jars/*", "Main"]


def build_python() -> Sequence[str]:
    """Returns how the program in Python is run."""
    return [sys.executable, "-m", "bench.languages.python.main"]


LANGUAGES: Final = {
    "python": Language(
        *("Python", "httpx", 1, 300, 3_000),
        {way: f"python/{way}.py" for way in WAYS},
        build_python,
    ),
    "go": Language(*("Go", "net/http", 16, 5_000, 20_000), {way: f"go/{way}.go" for way in WAYS}, build_go),
    "java": Language(
        *("Java", "java.net.http, Jackson", 16, 30_000, 20_000),
        {"client": "java/ByClient.java", "stub": "java/ByStub.java", "direct": "java/Direct.java"},
        build_java,
    ),
    "node": Language(*("Node", "fetch", 16, 8_000, 15_000), {way: f"node/{way}.mjs" for way in WAYS}, build_node),
}


@contextmanager
def calling(
    command: Sequence[str], way: str, address: str, language: Language, core: int
) -> Iterator[Callable[[], float]]:
    """Runs a program that is warm. What it gives has it make its calls, and returns their CPU time in seconds."""
    arguments = (way, address, REFERENCE[: -len(OWN)], GROUP, *map(str, (language.in_flight, language.warm_up)))
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command, *arguments, str(language.calls)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )

    def told() -> str:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        return process.stdout.readline().strip()

    def go_on() -> None:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write("\n")
        process.stdin.flush()

    def measured() -> float:
        before = cpu_seconds(process.pid)
        go_on()
        name, _, rest = told().partition(" ")
        used = cpu_seconds(process.pid) - before
        if name != "done" or not is_right(rest):
            raise FailedError(f"{language.title} by {way} said {name} {rest}")
        return used

    try:
        if told() != "ready":
            raise FailedError(f"{language.title} by {way} has ended")
        yield measured
        go_on()
        process.wait(_STOP)
    finally:
        process.kill()
        process.wait()


def is_right(told: str) -> bool:
    """Tells whether a program has read the carrier and the price of the documented answer."""
    carrier, _, price = told.partition(" ")
    return carrier == "Lineten" and Decimal(price) == Decimal("2.00")


def measure(
    cores: Cores, chosen: Mapping[str, Language], commands: Mapping[str, Sequence[str]], rounds: int
) -> Iterator[Sample]:
    """Measures, in processes of their own that take turns."""
    with stage(Row("caller", "", ()), cores, store=False) as around:
        # Which gateway answers is nothing to the caller: the cheapest one disturbs least.
        gateway = CONTENDERS["go"].program(around.surroundings)
        with running("go", gateway, [cores.rest]) as answering:
            for _ in range(rounds):
                for key, language in chosen.items():
                    for way in WAYS:
                        address = around.surroundings.upstream if way == "direct" else answering.address
                        with calling(commands[key], way, address, language, cores.gateway) as measured:
                            yield Sample(key, way, measured() / language.calls * _MICRO)


def lines(source: Path) -> int:
    """Returns how many lines of a source are neither empty nor a comment."""
    return sum(
        bool(line.strip()) and not line.strip().startswith(_COMMENTS) for line in source.read_text().splitlines()
    )


def table(samples: Sequence[Sample], chosen: Mapping[str, Language]) -> str:
    """Returns the table of the report."""
    heads = ("", "client, us", "stub, us", "REST, us", "client to stub", "REST to client", "lines: client", "REST")
    rows = [heads, ("---",) * len(heads)]
    for key, language in chosen.items():
        found = {way: [one.cpu_us for one in samples if (one.language, one.way) == (key, way)] for way in WAYS}
        to_stub, to_client = ratio(found["client"], found["stub"]), ratio(found["direct"], found["client"])
        counted = {way: str(lines(HERE / language.files[way])) for way in WAYS}
        rows.append(
            (
                f"{language.title}, {language.http}",
                *(text(found[way], ".0f") for way in WAYS),
                f"{text(to_stub, '.2f')}{'' if middle(to_stub) <= _MOST else ' **missed**'}",
                text(to_client, ".2f"),
                counted["client"],
                counted["direct"],
            )
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def ratio(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    """Returns the ratios within the same rounds."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def middle(values: Sequence[float]) -> float:
    """Returns the median."""
    found = spread(values)
    return found.middle if found else 0.0


def text(values: Sequence[float], form: str) -> str:
    """Returns the median and what it lies between."""
    found = spread(values)
    return f"{found.middle:{form}} ({found.low:{form}} to {found.high:{form}})" if found else "-"


def main() -> int:
    """Builds, measures and reports. Returns the exit code."""
    end_in_order()
    wanted = frozenset(filter(None, os.environ.get("BENCH_LANGUAGES", "").split(",")))
    is_quick = bool(os.environ.get("BENCH_QUICK"))
    chosen = {key: language for key, language in LANGUAGES.items() if not wanted or key in wanted}
    building.build_instruments()
    building.build_rivals()
    commands = {key: language.build() for key, language in chosen.items()}
    machine.raise_limits()
    cores = machine.take_cores()
    samples = []
    for sample in measure(cores, chosen, commands, 1 if is_quick else _ROUNDS):
        print(f"  {sample.language:8}{sample.way:8}{sample.cpu_us:8.0f} us", flush=True)
        samples.append(sample)
    told = machine.describe()
    described = ", ".join(f"{name} {told[name]}" for name in ("processor", "cores", "kernel", "python", "go"))
    report = f"{table(samples, chosen)}\n\nMeasured on: {described}, commit {told['commit']}."
    print(f"\n{report}")
    if not is_quick:
        put_between_marks(_DOCUMENT, _BEGIN, _END, report)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (machine.NotPossibleError, FailedError) as error:
        sys.exit(f"bench-callers: {error}")

"""Fuzzes all targets at the same time, and meanwhile has both engines take inputs of the repository.

Usage: PYTHONPATH=tests python -m fuzz.run [--seconds N] [--keep]

FUZZ_SECONDS is the same as the option. What coverage finds is kept in .cache/fuzz, where the next run goes on; --keep
makes that the corpus of the repository. It fails if an input makes the server do what
it must not, or an engine differ from the other one for a reason that tests/wire/differences.py does not know; and
prints that input in base64, as the corpus has it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fuzz import corpus, differential
from fuzz.targets import OVER_A_CONNECTION, TARGETS

_CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "fuzz"
_SECONDS: Final = 180
_LONGEST_INPUT: Final = 1_500
_SECONDS_PER_INPUT: Final = 20
_MOST_MEMORY: Final = 1_024
# Of each target: to compare takes a few tenths of a second each.
_MOST_COMPARED: Final = 60
_LINES: Final = 25
_STATE: Final = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)


def _command(target: str, *options: str) -> list[str]:
    limits = (f"-max_len={_LONGEST_INPUT}", f"-timeout={_SECONDS_PER_INPUT}", f"-rss_limit_mb={_MOST_MEMORY}")
    # They give way to the engines that are compared, which mostly wait.
    return ["nice", "-n", "5", sys.executable, "-m", "fuzz.target", target, *limits, *options]


def fuzz(seconds: int) -> list[str]:
    """Runs all targets, and prints what came of each. Returns what was found."""
    running = {}
    for target in TARGETS:
        folder, artifacts = _CACHE / target, _CACHE / f"{target}-found"
        corpus.unpack(target, folder)
        shutil.rmtree(artifacts, ignore_errors=True)
        artifacts.mkdir()
        log = _CACHE / f"{target}.log"
        command = _command(target, f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/", str(folder))
        with log.open("wb") as file:
            running[target] = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    found = []
    for target, process in running.items():
        process.wait()
        text = (_CACHE / f"{target}.log").read_text(errors="replace")
        executions, covered, features, inputs = (_STATE.findall(text) or [("0", "0", "0", "0")])[-1]
        print(
            f"{target:<11} {executions:>9} executions in {seconds} s, {covered:>5} edges, {features:>6} features, "
            f"{inputs:>5} inputs"
        )
        if process.returncode:
            found.append(f"{target} ended with {process.returncode}:\n" + "\n".join(text.splitlines()[-_LINES:]))
        crashes = sorted((_CACHE / f"{target}-found").iterdir())
        found += [f"{target}, {path.name}: {b64encode(path.read_bytes()).decode()}" for path in crashes]
    return found


def compare() -> list[str]:
    """Has both engines take inputs of the repository, and prints what differs. Returns what is not known.

    They are the same each time: what two engines may do otherwise has no end, and CI is to fail by a change alone.
    """
    chosen = []
    for target, run in OVER_A_CONNECTION.items():
        inputs = corpus.kept(target)
        chosen += [run(data) for data in inputs[:: len(inputs) // _MOST_COMPARED + 1]]
    compared = differential.compare(chosen)
    print(f"{compared.inputs} inputs were given to both engines, which differ as is known:")
    for why, count in compared.known.most_common():
        print(f"{count:>5} times {why}")
    return [f"direct: {one}, grpcio: {other}: {b64encode(octets).decode()}" for octets, one, other in compared.unknown]


def keep() -> None:
    """Makes what libFuzzer goes on with, which is one input for each thing that it has seen, that of the repository."""
    for target in TARGETS:
        inputs = corpus.pack(_CACHE / target)
        corpus.keep(target, inputs)
        print(f"{target:<11} keeps {len(inputs)} inputs")


def main() -> None:
    """Runs it as the command line says."""
    parser = argparse.ArgumentParser(description="Fuzzes the gateway's own gRPC server.")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", str(_SECONDS))))
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    _CACHE.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as pool:
        compared = pool.submit(compare)
        found = fuzz(arguments.seconds) + compared.result()
    for one in found:
        print(f"FOUND: {one}")
    if arguments.keep and not found:
        keep()
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""Fuzzes one target: `python -m fuzz.target NAME`, and then any options and folders of libFuzzer."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["allocation_gateway.wire", "fuzz.echo", "fuzz.program", "fuzz.targets"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Runs until libFuzzer ends the process."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

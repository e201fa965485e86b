"""What is in an image, by MB."""

from __future__ import annotations

import glob
import os
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = "opt/allocation-gateway"
_MB: Final = 1_000_000
# By the beginnings of the packages' names.
_PARTS: Final = {
    "gRPC and protobuf": ("grpcio", "protobuf", "googleapis-common-protos"),
    "cryptography": ("cryptography", "cffi", "pycparser", "joserfc"),
    "uvloop": ("uvloop",),
    "telemetry": ("opentelemetry", "prometheus", "requests", "urllib3", "charset-normalizer"),
    "HTTP": ("aiohappyeyeballs", "httptools", "httpx", "httpcore", "h11", "hpack", "anyio", "idna", "certifi"),
    "store": ("redis", "hiredis"),
    "gateway": ("allocation-gateway",),
    "client": ("allocation-gateway-client",),
    "sandbox": (
        "allocation-gateway-sandbox",
        "aiohttp",
        "aiosignal",
        "attrs",
        "frozenlist",
        "multidict",
        "propcache",
        "yarl",
    ),
}
_OTHERS: Final = "other packages"
_ENVIRONMENT: Final = "environment"
_PYTHON: Final = "base: Python"
_BASE: Final = "base: the rest"


def measured(root: Path) -> dict[str, float]:
    """Returns the MB of each part of an image.

    Args:
        root: The file system of the image.
    """
    (packages,) = (root / HOME / "lib").glob("python3*/site-packages")
    found = dict.fromkeys((*_PARTS, _OTHERS, _ENVIRONMENT, _PYTHON, _BASE), 0)
    counted: set[str] = set()
    for package in distributions(path=[str(packages)]):
        for path in _files(package, packages):
            if path not in counted and os.path.lexists(path):
                counted.add(path)
                found[_part(package)] += os.lstat(path).st_size
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - there are tens of thousands
            if path not in counted:
                found[_place(Path(path).relative_to(root))] += os.lstat(path).st_size
    return {part: round(octets / _MB, 1) for part, octets in found.items() if octets}


def _files(package: Distribution, packages: Path) -> Iterator[str]:
    """Yields the paths of what a package has installed, and of the bytecode that the image's build has made of it."""
    for file in package.files or ():
        path = Path(os.path.normpath(packages / file))
        yield str(path)
        if path.suffix == ".py":
            yield from map(str, (path.parent / "__pycache__").glob(f"{glob.escape(path.stem)}.*.pyc"))


def _part(package: Distribution) -> str:
    name = package.name.lower().replace("_", "-")
    exact = (part for part, names in _PARTS.items() if name in names)
    begun = (part for part, names in _PARTS.items() if name.startswith(names) and part != "gateway")
    return next(exact, next(begun, _OTHERS))


def _place(path: Path) -> str:
    if path.is_relative_to(HOME):
        return _ENVIRONMENT
    return _PYTHON if any(part.startswith(("python3", "libpython3")) for part in path.parts) else _BASE

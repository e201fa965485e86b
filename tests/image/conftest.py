"""The images and their containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.container import build_image, import_base, podman_store, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.container import Container, Image, Podman


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman, with a store that has nothing but the base."""
    with podman_store() as podman:
        import_base(podman)
        yield podman


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image for production, built from the working tree."""
    return build_image(podman, tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="session")
def sandbox_image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image that has the sandbox too."""
    return build_image(podman, tmp_path_factory.mktemp("secrets"), "sandbox")


@pytest.fixture(scope="session")
def sandbox(podman: Podman, sandbox_image: Image) -> Iterator[Container]:
    """A running sandbox."""
    with running(podman, sandbox_image, command=("sandbox",)) as started:
        yield started


@pytest.fixture(scope="session")
def container(podman: Podman, image: Image, sandbox: Container) -> Iterator[Container]:
    """A running gateway of the image for production, beside a sandbox, as the chart would run them."""
    with running(podman, image, beside=sandbox) as started:
        yield started

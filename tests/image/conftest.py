"""The image and its containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.container import build_image, podman_store, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.container import Container, Image, Podman


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """podman, with an empty store."""
    with podman_store() as podman:
        yield podman


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, built from the working tree."""
    return build_image(podman, tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="module")
def container(podman: Podman, image: Image) -> Iterator[Container]:
    """A running gateway that several tests look at."""
    with running(podman, image) as started:
        yield started

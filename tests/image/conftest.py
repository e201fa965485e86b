"""The images and their containers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from image.checkout import check_out
from support.container import base_archive, build_image, import_base, podman_store, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

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


@pytest.fixture(scope="session", autouse=True)
def rebuilding(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Podman] | None]:
    """Builds both images once more, beside all that the tests do, if one of them is to look at that."""
    if not any("elsewhere" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    base_archive()  # Or else both would make it at once.
    checkout = check_out(tmp_path_factory.mktemp("another"))
    secrets = [tmp_path_factory.mktemp("secrets") for _ in range(2)]

    def rebuild(podman: Podman) -> Podman:
        import_base(podman)
        build_image(podman, secrets[0], "sandbox", source=checkout)
        build_image(podman, secrets[1], source=checkout)
        return podman

    with podman_store() as podman, ThreadPoolExecutor(1) as pool:
        yield pool.submit(rebuild, podman)


@pytest.fixture(scope="session")
def elsewhere(rebuilding: Future[Podman]) -> Podman:
    """Somebody else's podman, which has the same images, built from another checkout, and nothing of what is here."""
    return rebuilding.result()


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

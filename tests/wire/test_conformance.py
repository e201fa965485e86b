"""h2spec, which knows the rules of HTTP/2 one by one, against each engine: over plaintext and over TLS.

What it asks of a server that answers a plain request with a page, and not of one of gRPC, is in NOT_OF_GRPC.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest
from support.certificates import Authority
from support.front import running_front
from wire.conftest import STRICT, chosen

if TYPE_CHECKING:
    from support.front import Front

pytestmark = pytest.mark.wire

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "tests" / "wire" / "h2spec"
COMMAND: Final = ROOT / ".cache" / "h2spec" / "h2spec"
BUILD_SECONDS: Final = 600
RUN_SECONDS: Final = 400

# h2spec asks with GET, without the headers of gRPC. Such a request is refused at once with a status of HTTP, and its
# stream is over before the frame that the case is about arrives. On calls of gRPC, test_frames has the same cases.
_OVER: Final = "its stream is over before"
# It waits for a body that it could hold up by a window, and there is none. test_windows has the same cases.
NOT_OF_GRPC: Final = {
    ("generic/2", "Sends a WINDOW_UPDATE frame on half-closed (remote) stream"): "it waits for DATA",
    ("generic/2", "Sends a PRIORITY frame on half-closed (remote) stream"): "it waits for DATA",
    ("http2/5.1", "closed: Sends a DATA frame after sending RST_STREAM frame"): _OVER,
    ("http2/5.1", "closed: Sends a HEADERS frame after sending RST_STREAM frame"): _OVER,
    (
        "http2/5.1.2",
        "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
    ): _OVER,
    ("http2/6.1", "Sends a DATA frame with invalid pad length"): _OVER,
    ("http2/6.9", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream"): _OVER,
    (
        "http2/6.9.1",
        "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    ): _OVER,
    ("http2/8.1", "Sends a second HEADERS frame without the END_STREAM flag"): _OVER,
    ("http2/8.1.2.1", "Sends a HEADERS frame that contains a pseudo-header field as trailers"): _OVER,
    (
        "http2/8.1.2.6",
        'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload '
        "length",
    ): _OVER,
    (
        "http2/8.1.2.6",
        'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple '
        "DATA frames payload length",
    ): _OVER,
}
# So many cases there are: that nothing failed would otherwise be true of an empty run too.
CASES: Final = 145


@pytest.fixture(scope="session")
def h2spec() -> str:
    """The path of h2spec, built from source. Without it this suite fails: skipping would hide what was not proved."""
    go = shutil.which("go")
    if go is None:
        pytest.fail("go is missing: install Go 1.26 or newer, which builds h2spec", pytrace=False)
    done = subprocess.run(
        [go, "-C", str(SOURCE), "build", "-o", str(COMMAND), "github.com/summerwind/h2spec/cmd/h2spec"],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"h2spec cannot be built:\n{done.stderr}", pytrace=False)
    return str(COMMAND)


def failed(h2spec: str, front: Front, report: Path, *arguments: str) -> set[tuple[str, str]]:
    """Runs all cases. Returns those that failed, as section and title."""
    port = front.gateway.address.rpartition(":")[2]
    subprocess.run(
        [h2spec, "--port", port, "--timeout", "1", "--junit-report", str(report), *arguments],
        capture_output=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - its own report
    assert len(cases) == CASES
    return {
        (case.attrib["package"], case.attrib["classname"])
        for case in cases
        if any(part.tag in {"failure", "error"} for part in case)
    }


@STRICT
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_engine_follows_the_rules(h2spec: str, engine: str, encrypted: bool, tmp_path: Path) -> None:
    settings, arguments = chosen(engine), []
    if encrypted:
        certificate, key = map(str, Authority(tmp_path).issue("gateway"))
        settings |= {"ALLOW_PLAINTEXT": "false", "TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key}
        arguments = ["--tls", "--insecure"]
    with running_front(settings=settings) as front:
        assert failed(h2spec, front, tmp_path / "report.xml", *arguments) == set(NOT_OF_GRPC)
        assert front.gateway.stop() == 0


@pytest.mark.parametrize("engine", ["grpcio"], indirect=True, scope="session")
def test_grpcio_is_unharmed(h2spec: str, front: Front, tmp_path: Path) -> None:
    """It follows fewer of them."""
    assert len(failed(h2spec, front, tmp_path / "report.xml")) > len(NOT_OF_GRPC)

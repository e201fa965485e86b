"""Random records of TLS, in random portions: what comes out is the data that went in, and work is bounded."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import pytest
from allocation_gateway.wire.tls_session import TlsFloodError, TlsSession
from attacks.attacker import client_hello
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from support.certificates import Authority
from support.tls_records import ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, HEADER_SIZE, HandmadeClient, record

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.properties

# Records without data that may come beyond one for so many bytes of data, those of a handshake, and those that are
# worked through in one step.
MOST_EMPTY, MAKES_UP_BYTES = 32, 1_024
MOST_HANDSHAKE_RECORDS: Final = 64
RECORDS_AT_ONCE: Final = 32
# As much as is ever read at once.
LARGEST_READ: Final = 65_536

# What a client sends: bytes of data, or a kind of record without any.
EMPTY: Final[dict[str, Callable[[HandmadeClient], bytes]]] = {
    "key update": lambda client: client.seal.key_update(),
    "asking key update": lambda client: client.seal.key_update(asks=True),
    "empty record": lambda client: client.seal.data(b""),
}
# Each as often as is drawn: few and many in a row.
OFTEN: Final = st.integers(1, 3) | st.integers(1, 50)
SENT: Final = st.lists(
    st.tuples(st.integers(1, 40) | st.integers(1, 16_384) | st.sampled_from(sorted(EMPTY)), OFTEN),
    min_size=1,
    max_size=10,
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a server needs for a handshake."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*Authority(tmp_path_factory.mktemp("certificates")).issue("random"))
    made.num_tickets = 0
    return made


@dataclass
class Wire:
    """What a client has in place of a socket: what it sends is taken by the server in its handshake."""

    server: TlsSession
    is_done: bool = False

    def sendall(self, data: bytes) -> None:
        self.server.take(memoryview(data))
        while self.server.has_record and not self.is_done:
            self.is_done = self.server.shake_hands()

    def recv(self, _: int) -> bytes:
        return self.server.encrypted()


def connected(context: ssl.SSLContext) -> tuple[TlsSession, HandmadeClient]:
    """Returns both ends of a connection, after the handshake."""
    server = TlsSession(context)
    client = HandmadeClient(cast("socket.socket", Wire(server)))
    client.do_handshake()
    return server, client


def portions(data: st.DataObject, whole: bytes) -> Iterator[memoryview]:
    """Yields bytes in portions of random sizes."""
    sizes = data.draw(st.sampled_from([(1, 9), (1, 2_000), (10_000, LARGEST_READ)]))
    view, at, count = memoryview(whole), 0, 0
    while at < len(whole):
        # Portions ever larger end a long conversation in time.
        size = data.draw(st.integers(*sizes)) if count < 60 else LARGEST_READ
        yield view[at : at + size]
        at, count = at + size, count + 1


def taken(server: TlsSession, portion: memoryview) -> Iterator[bytes]:
    """Yields what the server finds in a portion, turn by turn."""
    yield server.receive(portion)
    for _ in range(LARGEST_READ):
        if not server.has_record:
            return
        yield server.read()
    raise AssertionError("turns go on without an end")


@hypothesis(max_examples=300, deadline=None)
@given(st.data())
def test_all_data_is_found_whatever_is_between_it(context: ssl.SSLContext, data: st.DataObject) -> None:
    """And nothing after a record that was tampered with, or after too many without data."""
    server, client = connected(context)
    whole, said, empty = b"", b"", 0
    most_empty, is_spoilt = float(MOST_EMPTY), False
    sent = [one for one, often in data.draw(SENT) for _ in range(often)]
    spoilt = data.draw(st.none() | st.integers(0, len(sent) - 1))
    for number, one in enumerate(sent):
        if isinstance(one, str):
            made = EMPTY[one](client)
            empty += not is_spoilt
        else:
            content = bytes([number % 251]) * one
            made = client.seal.data(content)
            if not is_spoilt and number != spoilt:
                said += content
                most_empty += one / MAKES_UP_BYTES
        if number == spoilt:
            is_spoilt = True
            byte = data.draw(st.integers(HEADER_SIZE, len(made) - 1))
            made = made[:byte] + bytes([made[byte] ^ 0xFF]) + made[byte + 1 :]
        whole += made
    found, error = b"", None
    try:
        for portion in portions(data, whole):
            for part in taken(server, portion):
                assert len(part) <= RECORDS_AT_ONCE * 16_384
                found += part
    except (ssl.SSLError, TlsFloodError) as caught:
        error = caught
    assert said.startswith(found)
    if is_spoilt:
        assert error is not None
    elif error is not None:
        assert empty > MOST_EMPTY  # in a row, OpenSSL itself refuses as many
    else:
        assert found == said
        assert empty <= most_empty
        assert not server.has_record
    assert not isinstance(error, TlsFloodError) or empty > MOST_EMPTY


@hypothesis(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_end_a_handshake_or_wait_for_more(context: ssl.SSLContext, data: st.DataObject) -> None:
    """In a bounded number of steps, and by no other error than those of a handshake."""
    kinds = st.sampled_from([CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA])
    part = st.builds(record, kinds, st.binary(max_size=40)) | st.binary(min_size=1, max_size=40)
    server = TlsSession(context)
    hello = client_hello()
    cut = data.draw(st.integers(0, len(hello)))
    parts = [one for one, often in data.draw(st.lists(st.tuples(part, OFTEN), max_size=10)) for _ in range(often)]
    parts = [hello[:cut], *parts, hello[cut:]]
    steps = 0
    with contextlib.suppress(ssl.SSLError, TlsFloodError):
        for portion in (
            [memoryview(one) for one in parts] if data.draw(st.booleans()) else portions(data, b"".join(parts))
        ):
            server.take(portion)
            while server.has_record:
                steps += 1
                server.shake_hands()
    assert steps <= MOST_HANDSHAKE_RECORDS + 1

"""The transport with TLS that our server has: what comes is decrypted in turns, and nothing is lost or cut short."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Final, cast

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from allocation_gateway.wire.tls_session import TlsFloodError, TlsSession
from attacks.attacker import client_hello
from support.certificates import Authority
from support.front import LONG, READ, SHIPMENT, running_front
from support.http2 import HEALTH_PATH, PREFACE, Connection, Kind, frame, message, request_fields, settings
from support.tls_records import ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, HEADER_SIZE, HandmadeClient, record
from support.workers import wait_until
from wire.conftest import chosen, connections, defects, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from support.front import Front

VERSIONS: Final = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CALL: Final = message(READ.SerializeToString())
HEALTH: Final = request_fields(HEALTH_PATH)
OWN: Final = [("grpc.use_local_subchannel_pool", 1)]
# What grpcio's client is to take.
TAKES_MUCH: Final = [*OWN, ("grpc.max_receive_message_length", 1 << 24)]
# Bytes of an answer: nearly as many as the gateway takes from upstream.
LARGE: Final = 4_000_000
# Records without data that may come beyond one for each KiB of data.
MOST_EMPTY: Final = 32
MOST_HANDSHAKE_RECORDS: Final = 64
# Data that makes up for one record without any, as a frame that nobody knows.
MAKES_UP: Final = frame(0xBB, 0, 0, bytes(1_024 - 9))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody here trusts."""
    return Authority(tmp_path_factory.mktemp("strangers"), "stranger")


@contextlib.contextmanager
def running(authority: Authority, **more: str) -> Iterator[Front]:
    """Runs a gateway, of which nothing may be left in the end, and no defect in its log."""
    file, key = map(str, authority.issue("gateway"))
    chosen_settings = chosen("direct", ALLOW_PLAINTEXT="false", TLS_CERT_FILE=file, TLS_KEY_FILE=key, **more)
    with running_front(settings=chosen_settings) as front:
        yield front
        wait_until(lambda: not connections(port_of(front)), "connections are kept whose clients are gone", LONG)
        assert not defects(front.gateway)


@pytest.fixture(scope="module")
def front(authority: Authority) -> Iterator[Front]:
    with running(authority, MAX_REQUEST_BYTES="5000000") as found:
        yield found


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Iterator[Front]:
    with running(authority, TLS_CLIENT_CA_FILE=str(authority.file)) as found:
        yield found


def port_of(front: Front) -> int:
    return int(front.gateway.address.rpartition(":")[2])


def trusting(
    authority: Authority, version: ssl.TLSVersion | None = None, protocols: Sequence[str] = ("h2",)
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def connected(front: Front) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port_of(front)), timeout=LONG)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@contextlib.contextmanager
def handmade(front: Front) -> Iterator[tuple[Connection, HandmadeClient]]:
    """Opens a connection of HTTP/2 whose records the test makes."""
    with Connection(front.gateway.address, greeting=b"") as connection:
        client = HandmadeClient(connection.socket)
        client.do_handshake()
        connection.socket = cast("socket.socket", client)
        connection.send(PREFACE + settings())
        yield connection, client


def read_all(client: HandmadeClient | socket.socket) -> None:
    """Reads until the server has closed the connection."""
    while client.recv(1 << 16):
        pass


def is_served(connection: Connection) -> bool:
    return connection.answer(connection.begin(message(b""), HEALTH), LONG).status == 0


def check_others_are_served(front: Front, authority: Authority) -> None:
    with Connection(front.gateway.address, tls=trusting(authority)) as other:
        assert is_served(other)


# What TLS does, without a socket.


class Pair:
    """A client of OpenSSL's and the server's side, which has made a handshake with it.

    Attributes:
        client: The client.
        server: The server's side.
    """

    def __init__(self, authority: Authority, version: ssl.TLSVersion, cut: int = 1 << 20, curve: str = "") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("pair"))
        context.num_tickets = 0
        if curve:
            context.set_ecdh_curve(curve)
        self.server = TlsSession(context)
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trusting(authority, version, ()).wrap_bio(
            self._incoming, self.outgoing, server_hostname="localhost"
        )
        self.steps = 0
        is_done = [False, False]
        while not all(is_done):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
                is_done[0] = True
            sent = self.outgoing.read()
            for at in range(0, len(sent), cut):
                self.server.take(memoryview(sent[at : at + cut]))
                while self.server.has_record and not is_done[1]:
                    is_done[1] = self.server.shake_hands()
                    self.steps += 1
            self._incoming.write(self.server.encrypted())

    def sent(self, data: bytes) -> bytes:
        """Returns what the client sends for data."""
        self.client.write(data)
        return self.outgoing.read()

    def received(self, sent: bytes) -> bytes:
        """Returns what the client understands of what the server sends."""
        self._incoming.write(sent)
        found = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while part := self.client.read(1 << 16):
                found += part
        return found


@pytest.mark.parametrize("cut", [1, 3, 5, 6, 100, 1 << 20])
@pytest.mark.parametrize("version", VERSIONS)
def test_records_may_be_cut_anywhere(version: ssl.TLSVersion, cut: int, authority: Authority) -> None:
    pair = Pair(authority, version, cut)
    said = [b"a", b"b" * 100, b"c" * 16_384]
    sent = b"".join(map(pair.sent, said))
    found = b"".join(pair.server.receive(memoryview(sent[at : at + cut])) for at in range(0, len(sent), cut))
    assert found == b"".join(said)
    assert not pair.server.has_record
    assert pair.received(pair.server.encrypt(b"answer")) == b"answer"


@pytest.mark.parametrize("version", VERSIONS)
def test_few_records_are_decrypted_in_a_turn(version: ssl.TLSVersion, authority: Authority) -> None:
    pair = Pair(authority, version)
    whole = b"".join(pair.sent(bytes([number])) for number in range(200))
    found = [pair.server.receive(memoryview(whole[:-1]))]
    while pair.server.has_record:
        found.append(pair.server.read())
    found.append(pair.server.receive(memoryview(whole[-1:])))
    assert b"".join(found) == bytes(range(200))
    assert max(map(len, found)) == 32


@pytest.mark.parametrize("version", VERSIONS)
def test_client_that_says_farewell_has_ended(version: ssl.TLSVersion, authority: Authority) -> None:
    pair = Pair(authority, version)
    sent = pair.sent(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        pair.client.unwrap()
    assert pair.server.receive(memoryview(sent + pair.outgoing.read())) == b"last"
    assert pair.server.is_ended
    assert len(pair.server.end()) > 0
    assert not pair.server.end()


def test_second_greeting_is_a_step_of_its_own(authority: Authority) -> None:
    assert Pair(authority, ssl.TLSVersion.TLSv1_3).steps == 2
    assert Pair(authority, ssl.TLSVersion.TLSv1_3, curve="secp384r1").steps == 3


def test_greetings_that_come_together_are_computed_in_two_steps(authority: Authority) -> None:
    """Who knows what the server asks for can send both at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("pair"))
    context.set_ecdh_curve("secp384r1")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    asking = TlsSession(context)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    first = outgoing.read()
    asking.take(memoryview(first))
    assert not asking.shake_hands()
    asked = asking.encrypted()
    incoming.write(asked)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    server = TlsSession(context)
    server.take(memoryview(first + outgoing.read()))
    assert not server.shake_hands()
    assert server.encrypted() == asked
    assert server.has_record
    assert not server.shake_hands()
    assert len(server.encrypted()) > 500


def test_handshake_has_a_bound_in_records(authority: Authority) -> None:
    """Of records that OpenSSL would pass over, or keep."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("pair"))
    part = record(HANDSHAKE, b"\x0b\x01\0\0" + bytes(16_380))
    for sent in (part + record(HANDSHAKE, bytes(16_000)) * 10, record(CHANGE_CIPHER_SPEC, b"\x01") * 20_000):
        pair = TlsSession(context)
        client = trusting(authority).wrap_bio(ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        pair.take(memoryview(outgoing.read() + sent))
        with pytest.raises((TlsFloodError, ssl.SSLError)):
            shaken(pair)


def test_greeting_in_tiny_records_is_given_up_by_the_bound(authority: Authority) -> None:
    """OpenSSL would take all of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("pair"))
    hello = client_hello()[HEADER_SIZE:]
    for count, is_given_up in ((MOST_HANDSHAKE_RECORDS, False), (MOST_HANDSHAKE_RECORDS + 1, True)):
        pair = TlsSession(context)
        pair.take(memoryview(b"".join(record(HANDSHAKE, hello[at : at + 1]) for at in range(count))))
        with pytest.raises(TlsFloodError) if is_given_up else contextlib.nullcontext():
            while pair.has_record:
                assert not pair.shake_hands()


def shaken(server: TlsSession) -> None:
    """Makes the steps of a handshake that never ends."""
    for _ in range(1_000):
        assert not server.shake_hands()


@pytest.mark.parametrize("length", [16_384 + 257, 16_384 + 2_049, 65_535])
def test_record_that_is_too_long_is_refused_by_its_header(length: int, authority: Authority) -> None:
    pair = Pair(authority, ssl.TLSVersion.TLSv1_3)
    header = record(DATA, b"")[:3] + length.to_bytes(2)
    sent = header + (bytes(length) if length <= 16_384 + 2_048 else b"")
    with pytest.raises(ssl.SSLError):
        pair.server.receive(memoryview(sent))
    assert pair.server.encrypted()[0] in {ALERT, DATA}


# What brings no data.


def key_update(client: HandmadeClient) -> bytes:
    return client.seal.key_update()


def asking_key_update(client: HandmadeClient) -> bytes:
    return client.seal.key_update(asks=True)


def empty_record(client: HandmadeClient) -> bytes:
    return client.seal.data(b"")


def padded_empty_record(client: HandmadeClient) -> bytes:
    return client.seal.sealed(DATA, b"", padding=1_000)


KINDS: Final = [key_update, asking_key_update, empty_record, padded_empty_record]


@pytest.mark.parametrize("is_apart", [False, True], ids=["at once", "one by one"])
@pytest.mark.parametrize("make", KINDS)
def test_few_records_without_data_are_stood(
    make: Callable[[HandmadeClient], bytes], is_apart: bool, front: Front
) -> None:
    """And data makes up for them, so that a connection that lasts may change its keys at any time."""
    with handmade(front) as (connection, client):
        assert is_served(connection)
        for _ in range(3):
            made = [make(client) for _ in range(20)]
            for part in made if is_apart else [b"".join(made)]:
                client.plain.sendall(part)
            for _ in range(20):
                connection.send(MAKES_UP)
            connection.ping()


@pytest.mark.parametrize("make", KINDS)
def test_flood_of_records_without_data_is_ended(
    make: Callable[[HandmadeClient], bytes], front: Front, authority: Authority
) -> None:
    with handmade(front) as (connection, client):
        assert is_served(connection)
        with contextlib.suppress(OSError):
            client.plain.sendall(b"".join(make(client) for _ in range(200)))
        with contextlib.suppress(OSError):
            read_all(client)
        wait_until(lambda: not connections(port_of(front)), "the flood goes on", LONG)
    check_others_are_served(front, authority)


def test_what_is_between_records_without_data_is_not_lost(front: Front) -> None:
    """As many of them as of others, in whatever portions they come."""
    with handmade(front) as (connection, client):
        connection.ping()  # after which this side has nothing to say that the test has not said
        connection.pongs.clear()
        pings = [frame(Kind.PING, 0, 0, number.to_bytes(8)) for number in range(300)]
        sent = bytearray()
        for number, ping in enumerate(pings):
            sent += KINDS[number % len(KINDS)](client)
            sent += client.seal.data(MAKES_UP + ping)
        writer = threading.Thread(target=client.plain.sendall, args=(bytes(sent),))
        writer.start()
        connection.until(lambda: len(connection.pongs) == len(pings))
        writer.join()
        assert connection.pongs == [number.to_bytes(8) for number in range(300)]


@pytest.mark.parametrize("make", [key_update, asking_key_update])
def test_record_without_data_that_is_one_too_many_ends_the_connection(
    make: Callable[[HandmadeClient], bytes], front: Front
) -> None:
    with handmade(front) as (connection, client):
        connection.ping()
        client.plain.sendall(b"".join(make(client) for _ in range(MOST_EMPTY)))
        connection.send(MAKES_UP)
        client.plain.sendall(make(client))
        connection.ping()
        client.plain.sendall(make(client) + make(client))
        connection.drain()


def test_who_changes_keys_for_each_small_frame_floods_too(front: Front) -> None:
    with handmade(front) as (connection, client):
        ping = frame(Kind.PING, 0, 0, bytes(8))
        with contextlib.suppress(OSError):
            for _ in range(3 * MOST_EMPTY):
                client.plain.sendall(client.seal.key_update() + client.seal.data(ping))
        connection.drain()


def test_renegotiation_is_refused(front: Front, authority: Authority) -> None:
    """With TLS 1.2 there is such a thing, which HTTP/2 forbids."""
    asked = subprocess.run(
        ["openssl", "s_client", "-connect", front.gateway.address, "-tls1_2", "-alpn", "h2", "-CAfile", authority.file],
        input="R\n",
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert "RENEGOTIATING" in asked.stderr
    assert asked.stderr.count("depth=0") == 1, "the server has shown its certificate again"


# What is large.


@pytest.mark.parametrize("version", VERSIONS)
def test_large_messages_come_through_both_ways(version: ssl.TLSVersion, front: Front, authority: Authority) -> None:
    """Of nearly 4 MiB each."""
    front.upstream.forget()
    front.upstream.answer(200, {"reference": SHIPMENT, "state": "x" * LARGE})
    field = b"\xfa\x3f" + bytes([0x80, 0x80, 0x80, 0x02]) + bytes(1 << 22)  # one that no method knows
    with Connection(front.gateway.address, tls=trusting(authority, version)) as connection:
        stream = connection.begin(b"", end=False)
        body = message(READ.SerializeToString() + field)
        at = 0
        while at < len(body):
            connection.until_room(stream)
            size = min(connection.room(stream), 16_384, len(body) - at)
            connection.send_data(stream, body[at : at + size], end=at + size == len(body))
            at += size
        answer = connection.answer(stream, LONG)
        assert (answer.status, len(answer.data) > LARGE) == (0, True)


def test_large_answer_is_taken_by_grpcio(front: Front, authority: Authority) -> None:
    front.upstream.forget()
    front.upstream.answer(200, {"reference": SHIPMENT, "state": "x" * LARGE})
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
    with grpc.secure_channel(front.gateway.address, credentials, TAKES_MUCH) as channel:
        answer = ShipmentAllocationServiceStub(channel).GetShipmentAllocation(READ, timeout=LONG)
    assert answer.ByteSize() > LARGE


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_frames_in_tiny_records_come_through(size: int, front: Front) -> None:
    with handmade(front) as (connection, client):
        pings = b"".join(frame(Kind.PING, 0, 0, number.to_bytes(8)) for number in range(50))
        client.plain.sendall(b"".join(client.seal.data(pings[at : at + size]) for at in range(0, len(pings), size)))
        connection.until(lambda: len(connection.pongs) == 50)


def test_peer_that_does_not_read_is_bounded_and_is_answered_when_it_does(front: Front, authority: Authority) -> None:
    """Nothing is read of it meanwhile."""
    with Connection(front.gateway.address, tls=trusting(authority), buffer=8_192) as connection:
        connection.acts = False
        before = memory(front.gateway)
        connection.socket.setblocking(False)
        sent, ping = 0, frame(Kind.PING, 0, 0, bytes(8)) * 500
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
            while sent < 5_000:
                connection.socket.send(ping)
                sent += 500
        check_others_are_served(front, authority)
        assert memory(front.gateway) - before < 16 << 20
        connection.until(lambda: len(connection.pongs) >= 500, LONG)


# How it ends.


def close_notify(client: ssl.SSLSocket) -> None:
    with contextlib.suppress(ssl.SSLError):
        client.setblocking(False)
        client.unwrap()
    client.setblocking(True)


def half_close(client: ssl.SSLSocket) -> None:
    socket.socket.shutdown(client, socket.SHUT_WR)


def garbage(client: ssl.SSLSocket) -> None:
    with socket.socket(fileno=client.detach()) as plain:
        plain.settimeout(LONG)
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        with contextlib.suppress(OSError):
            read_all(plain)


def reset(client: ssl.SSLSocket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    socket.socket.close(client)


@pytest.mark.parametrize("leave", [close_notify, half_close, garbage, reset])
@pytest.mark.parametrize("phase", ["at once", "after the preface", "within a call", "while an answer is sent"])
@pytest.mark.parametrize("version", VERSIONS)
def test_connection_that_ends_leaves_nothing(
    version: ssl.TLSVersion, phase: str, leave: Callable[[ssl.SSLSocket], None], front: Front, authority: Authority
) -> None:
    front.upstream.forget()
    with Connection(front.gateway.address, tls=trusting(authority, version), greeting=b"") as connection:
        if phase != "at once":
            connection.send(PREFACE + settings())
            connection.ping()
        if phase == "within a call":
            connection.begin(CALL[:3], end=False)
            connection.ping()
        if phase == "while an answer is sent":
            front.upstream.answer(200, {"reference": SHIPMENT, "state": "x" * (1 << 20)})
            connection.widens = False
            stream = connection.begin(CALL)
            connection.until_data(stream, 1_000)
        assert isinstance(connection.socket, ssl.SSLSocket)
        leave(connection.socket)
        wait_until(lambda: not connections(port_of(front)), "the connection is kept", LONG)
    check_others_are_served(front, authority)


@pytest.mark.parametrize("version", VERSIONS)
def test_server_says_farewell_to_who_does(version: ssl.TLSVersion, front: Front, authority: Authority) -> None:
    with Connection(front.gateway.address, tls=trusting(authority, version)) as connection:
        connection.ping()
        assert isinstance(connection.socket, ssl.SSLSocket)
        connection.socket.unwrap().close()  # fails if the server does not say the same


def test_garbage_in_the_middle_is_answered_with_an_alert(front: Front, authority: Authority) -> None:
    with handmade(front) as (connection, client):
        assert is_served(connection)
        client.plain.sendall(record(DATA, bytes(100)))
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            read_all(client)
    check_others_are_served(front, authority)


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n", b"\x17\x02\x00\x20\x00", b"\x17\x03\x03\xff\xff"])
def test_what_begins_no_record_is_not_waited_for(begin: bytes, front: Front) -> None:
    with handmade(front) as (connection, client):
        assert is_served(connection)
        client.plain.sendall(begin)
        with contextlib.suppress(ssl.SSLError):
            read_all(client)
        wait_until(lambda: not connections(port_of(front)), "what is no record is waited for", 5.0)


# Handshakes.


@pytest.mark.parametrize("version", VERSIONS)
def test_curl_is_served(version: ssl.TLSVersion, front: Front, authority: Authority) -> None:
    """It speaks HTTP/2, but not gRPC: that it is told so shows that TLS is understood."""
    only = version.name.removeprefix("TLSv").replace("_", ".")
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--http2", f"--tlsv{only}", "--tls-max", only, "--cacert",
         authority.file, "--output", "-", "--write-out", "%{http_version} %{http_code}",
         f"https://localhost:{port_of(front)}/"],
        capture_output=True, text=True, timeout=LONG, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("2 "), (done.stdout, done.stderr)


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed_only_where_clients_show_no_certificate(
    version: ssl.TLSVersion, front: Front, authority: Authority
) -> None:
    """Which wants TLS 1.3: it would not be looked at again."""
    context, known = trusting(authority, version), None
    for number in range(2):
        with (
            connected(front) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=known) as one,
        ):
            one.sendall(PREFACE + settings())
            assert one.recv(1_000)
            assert one.session_reused is (number == 1 and version is ssl.TLSVersion.TLSv1_2)
            known = one.session


def presenting(authority: Authority, name: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = trusting(authority, version)
    context.load_cert_chain(*authority.issue(name))
    return context


def test_certificate_of_a_client_is_asked_for_and_checked(
    mutual: Front, authority: Authority, stranger: Authority
) -> None:
    """Who has none, or one of another authority, is told so by an alert."""
    with Connection(mutual.gateway.address, tls=presenting(authority, "client")) as connection:
        assert is_served(connection)
    other = trusting(authority)
    other.load_cert_chain(*stranger.issue("other"))
    for context, alert in ((trusting(authority), "CERTIFICATE_REQUIRED"), (other, "UNKNOWN_CA")):
        with (
            connected(mutual) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as refused,
        ):
            refused.sendall(PREFACE + settings())
            with pytest.raises(ssl.SSLError, match=alert):
                refused.recv(1_000)
    check = [line for line in mutual.gateway.lines if line.get("level") not in {"info", None}]
    assert not check, "a handshake that fails is no news"


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_handshake_with_a_certificate_may_be_cut_anywhere(cut: int, mutual: Front, authority: Authority) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = presenting(authority, "client").wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connected(mutual) as plain:
        is_done = False
        while not is_done:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
                client.write(PREFACE + settings())
                is_done = True
            sent = outgoing.read()
            for at in range(0, len(sent), cut):
                plain.sendall(sent[at : at + cut])
            if not is_done:
                incoming.write(plain.recv(1 << 16))
        incoming.write(plain.recv(1 << 16))
        assert client.read(1_000)


def test_client_that_goes_after_the_servers_part_of_a_handshake_leaves_nothing(
    front: Front, authority: Authority
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    sent = outgoing.read()
    for more in (b"", record(ALERT, b"\x02\x30"), record(HANDSHAKE, b"\x14\0\0\x20" + bytes(32)), b"\x16\x03"):
        with connected(front) as plain:
            plain.sendall(sent)
            assert plain.recv(HEADER_SIZE)[0] == HANDSHAKE
            plain.sendall(more)
            plain.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                read_all(plain)
        wait_until(lambda: not connections(port_of(front)), "the connection is kept", LONG)
    check_others_are_served(front, authority)

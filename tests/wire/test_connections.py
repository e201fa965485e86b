"""The life of a connection: probes, age, the end of the server, TLS, several workers."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from allocation.v1.shipment_allocation_service_pb2_grpc import ShipmentAllocationServiceStub
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.certificates import Authority
from support.front import LONG, READ, SERVICE, SHIPMENT, running_front
from support.http2 import (
    PREFACE,
    WINDOW,
    Code,
    Connection,
    Kind,
    Setting,
    frame,
    message,
    request_fields,
    settings,
    window_update,
)
from support.workers import answering, wait_until
from wire.conftest import STRICT, chosen, connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.front import Front

pytestmark = pytest.mark.wire

CALL: Final = message(READ.SerializeToString())
ANSWER: Final = {"reference": SHIPMENT, "state": "unallocated"}
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NEVER: Final = 2**31 - 1
WATCH_PATH: Final = "/grpc.health.v1.Health/Watch"
OWN: Final = [("grpc.use_local_subchannel_pool", 1)]


# Seconds within which who answers no probe is long gone.
PROBED: Final = 6.0
# Seconds for which the server at least goes on waiting for who has not taken all of an answer.
SLOW: Final = 5.0
# Bytes of an answer that does not fit into what the system keeps for a connection.
VAST: Final = 6_000_000


def port_of(front: Front) -> int:
    return int(front.gateway.address.rpartition(":")[2])


# Probes.


@pytest.fixture(scope="module")
def probing(engine: str) -> Iterator[Front]:
    """A gateway that probes its connections soon."""
    with running_front(settings=chosen(engine), KEEPALIVE_TIME="0.5", KEEPALIVE_TIMEOUT="0.5") as front:
        yield front


def test_peer_that_answers_no_probe_is_let_go(probing: Front) -> None:
    """With its call: nobody waits for that any more."""
    with Connection(probing.gateway.address) as connection:
        connection.answers_pings = False
        release = probing.upstream.hold()
        connection.begin(CALL)
        probing.upstream.next_request()
        begun = time.monotonic()
        connection.drain(PROBED)
        assert 0.9 < time.monotonic() - begun < PROBED
        assert Kind.PING in {got.kind for got in connection.frames}
        assert release.gone.wait(LONG)


def test_peers_that_answer_probes_are_kept(probing: Front) -> None:
    """Also if the answer comes at once: with many, it comes within the same tick of the clock for some."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(Connection(probing.gateway.address)) for _ in range(30)]
        for connection in many:
            connection.until(lambda: connection.acknowledged)  # noqa: B023 - it is called at once
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            for connection in many:
                connection.quiet(0.001)
        for connection in many:
            assert sum(got.kind == Kind.PING for got in connection.frames) >= 2
            assert connection.answer(connection.begin(CALL)).status == 0


def test_peer_that_vanished_is_let_go(probing: Front) -> None:
    """Nothing tells that it is gone but that it says nothing: as where a cable is pulled."""
    before = connections(port_of(probing))
    with Connection(probing.gateway.address) as connection:
        connection.until(lambda: connection.acknowledged)
        wait_until(lambda: connections(port_of(probing)) <= before, "the connection is kept", PROBED)


@STRICT
@pytest.mark.parametrize("said", [b"", PREFACE[:5], PREFACE], ids=["nothing", "half a greeting", "no settings"])
def test_who_does_not_even_begin_is_let_go(said: bytes, probing: Front) -> None:
    with Connection(probing.gateway.address, greeting=said) as connection:
        connection.drain(LONG)


def test_probes_of_a_client_are_answered_however_often(probing: Front) -> None:
    """A client may probe as often as it likes, within reason: it does not cost it its connection."""
    with Connection(probing.gateway.address) as connection:
        for number in range(200):
            connection.ping(struct.pack(">Q", number))
        assert not connection.goaways


# Age.


@pytest.fixture(scope="module")
def ageing(engine: str) -> Iterator[Front]:
    """A gateway whose connections are old soon."""
    with running_front(settings=chosen(engine), MAX_CONNECTION_AGE="0.7", MAX_CONNECTION_AGE_GRACE="1") as front:
        yield front


def test_old_connection_is_told_to_go_and_its_calls_finish(ageing: Front) -> None:
    """First it learns that it should make no more calls, and those on their way meanwhile still count."""
    with Connection(ageing.gateway.address) as connection:
        connection.acts = False
        connection.send(frame(Kind.SETTINGS, 1))
        release = ageing.upstream.hold(body=ANSWER)
        under_way = connection.begin(CALL)
        ageing.upstream.next_request()
        connection.until(lambda: connection.goaways, LONG)
        assert connection.goaways == [(NEVER, Code.NO_ERROR, connection.goaways[0][2])]
        on_its_way = connection.begin(CALL)
        ageing.upstream.next_request()
        pinged = [got for got in connection.frames if got.kind == Kind.PING][-1]
        connection.send(frame(Kind.PING, 1, 0, pinged.payload))
        connection.until(lambda: len(connection.goaways) == 2, LONG)
        assert connection.goaways[1][:2] == (on_its_way, Code.NO_ERROR)
        release.set()
        connection.drain(LONG)
        assert connection.on(under_way).status == 0
        assert connection.on(on_its_way).status == 0


def test_call_after_the_last_one_is_left_alone(ageing: Front) -> None:
    """Its client knows that nothing was done, and makes it elsewhere."""
    with Connection(ageing.gateway.address) as connection:
        release = ageing.upstream.hold(body=ANSWER)
        under_way = connection.begin(CALL)
        ageing.upstream.next_request()
        connection.until(lambda: len(connection.goaways) == 2, LONG)
        late = connection.begin(CALL)
        connection.ping()
        release.set()
        connection.drain(LONG)
        assert connection.on(under_way).status == 0
        assert connection.on(late).status is None
        assert ageing.upstream.received.empty()


def test_call_that_outlives_the_grace_is_cut(ageing: Front) -> None:
    with Connection(ageing.gateway.address) as connection:
        release = ageing.upstream.hold()
        connection.begin(CALL)
        ageing.upstream.next_request()
        begun = time.monotonic()
        connection.drain(LONG)
        assert 1 < time.monotonic() - begun < LONG / 2
        assert release.gone.wait(LONG)


def test_idle_connection_goes_when_it_is_old(ageing: Front) -> None:
    with Connection(ageing.gateway.address) as connection:
        connection.drain(LONG)
        assert connection.goaways[0][1] == Code.NO_ERROR


def test_client_loses_no_call_as_its_connections_age(ageing: Front) -> None:
    """It moves to a new connection again and again, and none of its calls notices."""
    ended = threading.Event()
    codes: list[object] = []

    def call() -> None:
        while not ended.is_set():
            try:
                stub.GetShipmentAllocation(READ, timeout=LONG)
            except grpc.RpcError as error:
                codes.append(error)

    with grpc.insecure_channel(ageing.gateway.address, OWN) as channel:
        stub = ShipmentAllocationServiceStub(channel)
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        ended.wait(2.0)
        ended.set()
        for thread in threads:
            thread.join()
    assert not codes
    wait_until(lambda: len(ageing.gateway.lines) > 50, "hardly a call was made", LONG)


# The end of the server.


def test_end_says_goodbye_twice_and_lets_calls_finish(engine: str) -> None:
    with running_front(settings=chosen(engine)) as front, Connection(front.gateway.address) as connection:
        release = front.upstream.hold(body=ANSWER)
        stream = connection.begin(CALL)
        front.upstream.next_request()
        front.gateway.process.send_signal(signal.SIGTERM)
        connection.until(lambda: len(connection.goaways) == 2, LONG)
        assert [goaway[:2] for goaway in connection.goaways] == [(NEVER, 0), (stream, 0)]
        assert not connection.on(stream).over
        release.set()
        connection.drain(LONG)
        assert connection.on(stream).status == 0
        assert front.gateway.process.wait(LONG) == 0


def test_end_waits_for_no_connection_that_only_stands(engine: str) -> None:
    """Be it in the middle of its greeting, of a request, or with nothing to say."""
    with running_front(settings=chosen(engine), SHUTDOWN_GRACE="12") as front, contextlib.ExitStack() as stack:
        said = (b"", PREFACE, PREFACE + settings(), PREFACE[:3])
        standing = [stack.enter_context(Connection(front.gateway.address, greeting=part)) for part in said]
        with Connection(front.gateway.address) as connection:
            assert connection.answer(connection.begin(CALL)).status == 0
            begun = time.monotonic()
            assert front.gateway.stop() == 0
            assert time.monotonic() - begun < 10
            connection.drain()
        for other in standing:
            other.drain()


def test_end_is_bounded_for_requests_that_never_become_whole(engine: str) -> None:
    settings = chosen(engine, SHUTDOWN_GRACE="1")
    with running_front(settings=settings) as front, Connection(front.gateway.address) as connection:
        connection.begin(CALL[:3], end=False)
        connection.ping()
        begun = time.monotonic()
        assert front.gateway.stop() == 0
        assert time.monotonic() - begun < 6
        connection.drain()


# Health and reflection.


def test_health_is_watched_over_its_changes(engine: str) -> None:
    """From SERVING to NOT_SERVING, while calls are still taken; and then the watch ends."""
    with (
        running_front(settings=chosen(engine), SHUTDOWN_DELAY="0.7") as front,
        Connection(front.gateway.address) as connection,
    ):
        stream = connection.begin(message(b""), request_fields(WATCH_PATH))
        connection.until(lambda: connection.on(stream).data == message(b"\x08\x01"))
        front.gateway.process.send_signal(signal.SIGTERM)
        connection.until(lambda: connection.on(stream).data == message(b"\x08\x01") + message(b"\x08\x02"))
        assert connection.answer(connection.begin(CALL)).status == 0
        assert connection.answer(stream).status == 14
        assert front.gateway.process.wait(LONG) == 0


def test_watch_of_an_unknown_service_begins_with_unknown(front: Front) -> None:
    stub: Any = health_pb2_grpc.HealthStub(front.channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=LONG)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_watchers_that_go_leave_nothing(front: Front, connect: Callable[..., Connection]) -> None:
    for end in ("reset", "cut"):
        connection = connect()
        for _ in range(50):
            connection.begin(message(b""), request_fields(WATCH_PATH))
        connection.until_data(99, 1)
        if end == "reset":
            connection.send(*(frame(Kind.RST_STREAM, 0, 2 * number + 1, bytes([0, 0, 0, 8])) for number in range(50)))
            assert connection.answer(connection.begin(CALL)).status == 0
        else:
            connection.cut()


def test_reflection_answers_many_questions_on_one_stream(front: Front) -> None:
    """As tools ask them: the next one depends on the last answer."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(front.channel)
    questions: Any = _Questions()
    answers = stub.ServerReflectionInfo(questions, timeout=LONG)
    questions.ask(list_services="")
    services = {service.name for service in next(answers).list_services_response.service}
    assert SERVICE in services
    questions.ask(file_containing_symbol=SERVICE)
    described = FileDescriptorProto.FromString(next(answers).file_descriptor_response.file_descriptor_proto[0])
    for name in described.dependency:
        questions.ask(file_by_filename=name)
        assert next(answers).file_descriptor_response.file_descriptor_proto
    questions.ask(file_containing_symbol="no.such.Thing")
    assert next(answers).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    questions.end()
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


class _Questions:
    """Questions that are asked one by one, as an iterator."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked: list[object] = []
        self._over = False

    def ask(self, **question: str) -> None:
        with self._changed:
            asked = reflection_pb2.ServerReflectionRequest(**question)  # type: ignore[arg-type] # texts, all of them
            self._asked.append(asked)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()

    def __iter__(self) -> _Questions:
        return self

    def __next__(self) -> object:
        with self._changed:
            self._changed.wait_for(lambda: self._asked or self._over, LONG)
            if not self._asked:
                raise StopIteration
            return self._asked.pop(0)


# TLS. More of it is in tests/tls.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def tls_settings(engine: str, pair: tuple[Path, Path], **more: str) -> dict[str, str]:
    files = {"TLS_CERT_FILE": str(pair[0]), "TLS_KEY_FILE": str(pair[1])}
    return chosen(engine, ALLOW_PLAINTEXT="false", **files, **more)


@pytest.fixture(scope="module")
def encrypted(engine: str, authority: Authority) -> Iterator[Front]:
    with running_front(settings=tls_settings(engine, authority.issue(f"gateway-{engine}"))) as front:
        yield front


def client_tls(authority: Authority, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_serves_http2_by_its_name(version: ssl.TLSVersion, encrypted: Front, authority: Authority) -> None:
    context = client_tls(authority, "http/1.1", "h2")
    context.minimum_version = context.maximum_version = version
    with Connection(encrypted.gateway.address, tls=context) as connection:
        assert isinstance(connection.socket, ssl.SSLSocket)
        assert connection.socket.selected_alpn_protocol() == "h2"
        assert connection.socket.version() == version.name.replace("_", ".")
        assert connection.answer(connection.begin(CALL)).status == 0


def test_large_answers_come_through_tls(encrypted: Front, authority: Authority) -> None:
    encrypted.upstream.answer(200, {"reference": SHIPMENT, "state": "x" * 200_000})
    with Connection(encrypted.gateway.address, tls=client_tls(authority, "h2")) as connection:
        answer = connection.answer(connection.begin(CALL))
        assert (answer.status, len(answer.data) > 200_000) == (0, True)


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2c",)], ids=["none", "HTTP/1.1", "another"])
def test_client_of_another_protocol_is_refused(
    protocols: tuple[str, ...], encrypted: Front, authority: Authority
) -> None:
    """A server that goes on regardless would talk past it."""
    encrypted.upstream.forget()
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):  # noqa: SIM117, PT012 - refused in the handshake, or at once
        with Connection(encrypted.gateway.address, tls=client_tls(authority, *protocols)) as connection:
            connection.begin(CALL)
            connection.until(lambda: connection.on(1).over)
    assert encrypted.upstream.received.empty()


def test_old_tls_is_refused(encrypted: Front, authority: Authority) -> None:
    context = client_tls(authority, "h2")
    context.set_ciphers("ALL:@SECLEVEL=0")  # else the client itself would not even try
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        Connection(encrypted.gateway.address, tls=context)


@pytest.mark.parametrize("case", ["plaintext", "nothing", "noise", "half a handshake"])
def test_what_is_no_tls_is_let_go(case: str, encrypted: Front, authority: Authority) -> None:
    """And holds up nobody meanwhile."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_tls(authority, "h2").wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    said = {"plaintext": PREFACE + settings(), "nothing": b"", "noise": bytes(range(256)) * 4}
    before = connections(port_of(encrypted))
    with Connection(encrypted.gateway.address, greeting=said.get(case, outgoing.read()[:100])) as connection:
        with Connection(encrypted.gateway.address, tls=client_tls(authority, "h2")) as other:
            assert other.answer(other.begin(CALL)).status == 0
        connection.finish_sending()
        connection.drain(LONG)
    wait_until(lambda: connections(port_of(encrypted)) <= before, "the connection is kept", LONG)
    assert not [line for line in encrypted.gateway.lines if "Traceback" in str(line)]


def test_greeting_of_tls_that_comes_in_parts_is_understood(encrypted: Front, authority: Authority) -> None:
    """As one does that is larger than a packet."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls(authority, "h2").wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    greeting = outgoing.read()
    host, port = encrypted.gateway.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=LONG) as client:
        for part in (greeting[:1], greeting[1:4], greeting[4:200], greeting[200:]):
            # By then the gateway has seen the part before.
            with Connection(encrypted.gateway.address, tls=client_tls(authority, "h2")) as other:
                assert other.answer(other.begin(CALL)).status == 0
            client.sendall(part)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            client.sendall(outgoing.read())
            received = client.recv(65_536)
            assert received, "the handshake is given up"
            incoming.write(received)
    assert tls.selected_alpn_protocol() == "h2"


# The client's own socket: CPython does not close it if the other side goes before the handshake begins.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.wire
def test_tls_that_is_cut_anywhere_leaves_nothing(encrypted: Front, authority: Authority) -> None:
    """The bytes below are cut, not those within."""
    before = connections(port_of(encrypted))
    for length in range(0, 2600, 260):
        with (
            _cutting(port_of(encrypted), length) as address,
            contextlib.suppress(OSError),
            Connection(address, tls=client_tls(authority, "h2")) as connection,
        ):
            connection.begin(CALL)
            connection.drain(LONG)
    gc.collect()  # so that what was left is warned of here
    wait_until(lambda: connections(port_of(encrypted)) <= before, "the connection is kept", LONG)
    with Connection(encrypted.gateway.address, tls=client_tls(authority, "h2")) as connection:
        assert connection.answer(connection.begin(CALL)).status == 0
    assert not [line for line in encrypted.gateway.lines if "Traceback" in str(line)]


class _cutting:  # noqa: N801 - used like a function
    """A way to a port on which only so many bytes come through, and then it is cut."""

    def __init__(self, port: int, length: int) -> None:
        self._port, self._length = port, length
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._carry)

    def __enter__(self) -> str:
        self._thread.start()
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listening.close()

    def _carry(self) -> None:
        self._listening.settimeout(LONG)
        near, _ = self._listening.accept()
        with near, socket.create_connection(("127.0.0.1", self._port)) as far:
            near.settimeout(0.02)
            far.settimeout(0.02)
            left, silent = self._length, 0
            while left > 0 and silent < 10:
                silent += 1
                try:
                    data = near.recv(left)
                    left -= len(data)
                    far.sendall(data)
                    silent = 0 if data else 10
                except TimeoutError:
                    pass
                except OSError:
                    break
                try:
                    near.sendall(far.recv(65536))
                except TimeoutError:
                    pass
                except OSError:
                    break
            for end in (near, far):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.wire
def test_mutual_tls_knows_its_clients(engine: str, authority: Authority) -> None:
    pair = authority.issue(f"mutual-{engine}")
    with running_front(settings=tls_settings(engine, pair, TLS_CLIENT_CA_FILE=str(authority.file))) as front:
        known = client_tls(authority, "h2")
        known.load_cert_chain(*authority.issue(f"client-{engine}"))
        with Connection(front.gateway.address, tls=known) as connection:
            assert connection.answer(connection.begin(CALL)).status == 0
        with pytest.raises((OSError, AssertionError)):  # noqa: SIM117, PT012 - in the handshake, or right after it
            with Connection(front.gateway.address, tls=client_tls(authority, "h2")) as connection:
                connection.until(lambda: connection.told)
                connection.begin(CALL)
                connection.until(lambda: connection.on(1).over)
        assert front.upstream.received.qsize() == 1


def test_end_does_not_wait_long_for_who_leaves_a_tls_connection_open(engine: str, authority: Authority) -> None:
    """It says goodbye, and not every client says so too."""
    files = authority.issue(f"left-{engine}")
    settings = tls_settings(engine, files, SHUTDOWN_GRACE=str(3 * LONG), KEEPALIVE_TIMEOUT=str(3 * LONG))
    with (
        running_front(settings=settings) as front,
        Connection(front.gateway.address, tls=client_tls(authority, "h2")) as connection,
    ):
        assert connection.answer(connection.begin(CALL)).status == 0
        front.gateway.process.send_signal(signal.SIGTERM)
        connection.until(lambda: len(connection.goaways) == 2, LONG)
        assert front.gateway.process.wait(LONG) == 0


@STRICT
def test_answer_that_is_read_late_comes_through_tls_at_the_end(engine: str, authority: Authority) -> None:
    """The server waits longer for who has not taken all than for who has, and only does not say so."""
    files = authority.issue(f"late-{engine}")
    slow = tls_settings(engine, files, KEEPALIVE_TIMEOUT=str(LONG), SHIP_MAX_ANSWER_BYTES=str(2 * VAST))
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: NEVER}) + window_update(0, NEVER - WINDOW)
    with (
        running_front(settings=slow) as front,
        Connection(
            front.gateway.address, tls=client_tls(authority, "h2"), greeting=greeting, buffer=4096
        ) as connection,
    ):
        release = front.upstream.hold(body={"reference": SHIPMENT, "state": "x" * VAST})
        stream = connection.begin(CALL)
        front.upstream.next_request()
        front.gateway.process.send_signal(signal.SIGTERM)
        connection.until(lambda: len(connection.goaways) == 2, LONG)
        connection.widens = False
        release.set()
        with pytest.raises(subprocess.TimeoutExpired):
            front.gateway.process.wait(SLOW)
        assert connection.answer(stream, LONG).status == 0
        assert front.gateway.process.wait(LONG) == 0


# Addresses and workers.


@pytest.mark.wire
@pytest.mark.skipif(not socket.has_ipv6, reason="the system has no IPv6")
def test_ipv6_is_served(engine: str) -> None:
    with running_front(settings=chosen(engine), HOST="::1") as front, Connection(front.gateway.address) as connection:
        assert connection.answer(connection.begin(CALL)).status == 0


@pytest.mark.wire
def test_workers_share_a_port(engine: str) -> None:
    """Each of several connections has one worker for itself, and all have some."""
    with running_front(settings=chosen(engine), WORKERS="2", ALLOW_UNSHARED_CLAIMS="true") as front:
        seen: set[int] = set()
        for _ in range(200):
            seen.add(answering(front.gateway))
        assert len(seen) == 2
        assert front.gateway.stop() == 0

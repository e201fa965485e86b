"""Handshakes of TLS: each step of one waits for its turn, and who never ends one holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING, Final

import pytest
from allocation_gateway.wire.acceptor import TlsAcceptor
from allocation_gateway.wire.connection_table import ConnectionTable, counted_address
from allocation_gateway.wire.handshakes import HandshakeQueue
from allocation_gateway.wire.limits import Limits
from attacks.attacker import client_hello
from support.certificates import Authority
from support.front import LONG, running_front
from support.http2 import Connection
from support.tls_records import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER_SIZE, record
from support.workers import wait_until
from wire.conftest import chosen, connections

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from typing import Any

    from support.front import Front

# Seconds that are far fewer than a client has for its handshake.
SOON: Final = 4.0
LIMITS: Final = Limits(
    message=1 << 20,
    metadata=8_192,
    calls=100,
    connections=1_000,
    connections_per_address=1_000,
    held=1 << 25,
    keepalive_time=60.0,
    keepalive_timeout=20.0,
    age=3_600.0,
    age_grace=10.0,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def in_records(data: bytes, *sizes: int) -> bytes:
    """Returns a message in records of these sizes, and one with the rest."""
    records = []
    for size in sizes:
        records.append(record(HANDSHAKE, data[:size]))
        data = data[size:]
    return b"".join([*records, record(HANDSHAKE, data)])


def hello() -> bytes:
    """Returns the ClientHello of a client, without its record."""
    return client_hello()[HEADER_SIZE:]


# Whose turn it is.


def test_few_handshakes_begin_in_a_turn_of_the_loop() -> None:
    async def test() -> None:
        queue = HandshakeQueue(asyncio.get_running_loop())
        begun = 0

        async def one(number: int) -> None:
            nonlocal begun
            await queue.turn(str(number % 7), has_begun=number % 3 == 0)
            begun += 1

        tasks = [asyncio.create_task(one(number)) for number in range(50)]
        before = 0
        while begun < len(tasks):
            await asyncio.sleep(0)
            assert begun - before <= 2
            before = begun
        await asyncio.gather(*tasks)
        assert not len(queue)

    asyncio.run(test())


def test_address_with_many_handshakes_holds_up_itself_alone() -> None:
    async def test() -> None:
        queue = HandshakeQueue(asyncio.get_running_loop())
        order: list[str] = []

        async def one(address: str) -> None:
            await queue.turn(address, has_begun=False)
            order.append(address)

        tasks = [asyncio.create_task(one(address)) for address in [*["many"] * 100, "a", "b", "a"]]
        await asyncio.gather(*tasks)
        assert order.index("a") <= 3
        assert order.index("b") <= 3
        assert order.index("a", order.index("a") + 1) <= 6, "it is behind the others again, and before none of its own"
        assert order[-90:] == ["many"] * 90

    asyncio.run(test())


def test_what_has_begun_goes_on_before_others_of_its_address_begin() -> None:
    """It takes memory until it ends. It comes before nobody of another address."""

    async def test() -> None:
        queue = HandshakeQueue(asyncio.get_running_loop())
        order: list[str] = []

        async def one(name: str, address: str) -> None:
            await queue.turn(address, has_begun=name.startswith("begun"))
            order.append(name)

        waiting = [*[("new", "a")] * 50, ("begun 1", "a"), ("begun 2", "a"), ("new of another", "b")]
        await asyncio.gather(*(one(*each) for each in waiting))
        assert order[:3] == ["begun 1", "new of another", "begun 2"]
        assert order[3:] == ["new"] * 50

    asyncio.run(test())


def test_who_waits_no_longer_costs_nobody_a_turn() -> None:
    async def test() -> None:
        queue = HandshakeQueue(asyncio.get_running_loop())
        leaving = [asyncio.create_task(queue.turn("a", has_begun=number % 2 == 0)) for number in range(1_000)]
        staying = asyncio.create_task(queue.turn("a", has_begun=False))
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        for _ in range(4):
            await asyncio.sleep(0)
        assert staying.done()
        assert not len(queue)
        await asyncio.gather(*leaving, return_exceptions=True)

    asyncio.run(test())


def test_networks_of_ipv6_take_turns_as_they_are_counted() -> None:
    assert counted_address("2001:db8::1") == counted_address("2001:db8::2") != counted_address("2001:db8:0:1::1")


# How they are accepted.


class _Recording(asyncio.SelectorEventLoop):
    """An event loop that records which handshakes are computed in its turns.

    Attributes:
        begun: The handshakes that have begun.
        computed: The handshakes of which something was computed, for each turn of the loop.
        steps: The addresses whose turn it was to compute a step of a handshake.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun: set[ssl.SSLObject] = set()
        self.computed: list[set[ssl.SSLObject]] = []
        self.steps: list[str] = []

    def _run_once(self) -> None:
        self.computed.append(set())
        super()._run_once()  # type: ignore[misc]

    async def has_begun(self, count: int) -> None:
        while len(self.begun) < count:  # noqa: ASYNC110 - it is turns of the loop that pass
            await asyncio.sleep(0)

    async def has_taken(self, count: int) -> None:
        while len(self.steps) < count:  # noqa: ASYNC110 - it is turns of the loop that pass
            await asyncio.sleep(0)


class _Computed(ssl.SSLObject):
    """One end of TLS that has the event loop record when its handshake is computed."""

    def do_handshake(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _Recording)
        loop.begun.add(self)
        loop.computed[-1].add(self)
        super().do_handshake()


class _RecordingQueue(HandshakeQueue):
    """A queue that has the event loop record whose turn it is."""

    def __init__(self, loop: _Recording) -> None:
        super().__init__(loop)
        self._steps = loop.steps

    async def turn(self, address: str, *, has_begun: bool) -> None:
        await super().turn(address, has_begun=has_begun)
        self._steps.append(address)


class _Accepting:
    """A server that does nothing but to accept connections, with clients of its own."""

    def __init__(self, authority: Authority, stack: contextlib.ExitStack, curve: str) -> None:
        self._stack = stack
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*authority.issue("accepting"))
        tls.sslobject_class = _Computed
        tls.num_tickets = 0
        # Not the one that clients have a key for in their first greeting: those that serve it are asked to greet again.
        tls.set_ecdh_curve(curve)
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._address = listening.getsockname()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _Recording)
        self.loop = loop
        table, queue = ConnectionTable(LIMITS), _RecordingQueue(loop)
        stack.callback(TlsAcceptor(listening, tls, table, queue, asyncio.Protocol).close)

    def client(self, sent: bytes, source: str = "127.0.0.1") -> socket.socket:
        client = socket.create_connection(self._address, source_address=(source, 0))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(sent)
        return self._stack.enter_context(client)


def accepting(
    authority: Authority, test: Callable[[_Accepting], Coroutine[Any, Any, None]], curve: str = "X25519"
) -> None:
    async def run() -> None:
        with contextlib.ExitStack() as stack:
            await asyncio.wait_for(test(_Accepting(authority, stack, curve)), LONG)

    with asyncio.Runner(loop_factory=_Recording) as runner:
        runner.run(run())


def test_greetings_in_two_records_have_turns(authority: Authority) -> None:
    """Whoever sends the second records together would else have all of them computed in one turn."""

    async def test(server: _Accepting) -> None:
        whole = in_records(hello(), 40)
        clients = [server.client(whole[:45]) for _ in range(50)]
        await server.loop.has_begun(50)
        for client in clients:
            client.sendall(whole[45:])
        await server.loop.has_taken(100)
        assert max(map(len, server.loop.computed)) == 2

    accepting(authority, test)


def test_who_connects_beside_many_others_has_its_turn_soon(authority: Authority) -> None:
    async def test(server: _Accepting) -> None:
        for _ in range(100):
            server.client(client_hello())
        server.client(client_hello(), "127.0.0.2")
        await server.loop.has_begun(101)
        # Those before it that have begun by the time that it is accepted: a few are accepted in a turn.
        assert server.loop.steps.index("127.0.0.2") < 50

    accepting(authority, test)


def test_second_greeting_has_a_turn_of_its_own(authority: Authority) -> None:
    """It is what the server asks for that wants a key of another kind. And so has the end of a handshake."""

    async def test(server: _Accepting) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        connected = server.client(outgoing.read())
        connected.setblocking(False)
        greetings = 1
        while True:
            incoming.write(await server.loop.sock_recv(connected, 65_536))
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                if sent := outgoing.read():
                    greetings += 1
                    await server.loop.sock_sendall(connected, sent)
            else:
                break
        assert greetings == 2
        assert len(server.loop.steps) == 2
        await server.loop.sock_sendall(connected, outgoing.read())
        await server.loop.has_taken(3)

    accepting(authority, test, curve="secp384r1")


# What a server does.


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.fixture(scope="module")
def encrypted(authority: Authority) -> Iterator[Front]:
    """A gateway with TLS, whose clients may have few connections."""
    file, key = map(str, authority.issue("localhost"))
    settings = chosen("direct", ALLOW_PLAINTEXT="false", TLS_CERT_FILE=file, TLS_KEY_FILE=key)
    with running_front(settings=settings, MAX_CONNECTIONS_PER_ADDRESS="40") as front:
        yield front


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2"])
    return context


def opened(front: Front, sent: bytes) -> socket.socket:
    host, _, port = front.gateway.address.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=LONG)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(sent)
    return client


@pytest.mark.parametrize("size", [1, 5, 100])
@pytest.mark.parametrize("leave", [close, reset])
def test_who_is_gone_after_part_of_a_greeting_counts_no_more(
    leave: Callable[[socket.socket], None], size: int, encrypted: Front, authority: Authority
) -> None:
    """Else who has no connection open at all would keep all others of its address out, for as long as it likes."""
    port = int(encrypted.gateway.address.rpartition(":")[2])
    begun = time.monotonic()
    for _ in range(4):
        for client in [opened(encrypted, client_hello()[:size]) for _ in range(30)]:
            leave(client)
        wait_until(lambda: not connections(port), "connections are kept whose clients are gone", SOON)
    assert time.monotonic() - begun < 2 * SOON, "they have gone, since their time was up"
    with Connection(encrypted.gateway.address, tls=trusting(authority)):
        pass


@pytest.mark.parametrize("sizes", [[40], [1, 1, 1, 1], [200, 100], [1] * 60])
def test_greeting_in_several_records_is_answered(sizes: Sequence[int], encrypted: Front) -> None:
    whole = in_records(hello(), *sizes)
    with opened(encrypted, whole[:-10]) as client:
        client.sendall(whole[-10:])
        assert client.recv(1)[0] == HANDSHAKE


@pytest.mark.parametrize("is_apart", [False, True], ids=["at once", "one by one"])
@pytest.mark.parametrize(
    "part", [record(CHANGE_CIPHER_SPEC, b"\x01"), record(HANDSHAKE, b""), None], ids=["passed over", "empty", "tiny"]
)
def test_greeting_in_more_records_than_any_client_sends_is_given_up(
    part: bytes | None, is_apart: bool, encrypted: Front
) -> None:
    """Each may take a turn of its own, for which others of its address wait."""
    whole = hello()
    records = [part or record(HANDSHAKE, whole[at : at + 1]) for at in range(len(whole) - 1)]
    begun = time.monotonic()
    with opened(encrypted, b"") as client, contextlib.suppress(OSError):
        for sent in records if is_apart else [b"".join(records)]:
            client.sendall(sent)
        while client.recv(100):
            pass
    assert time.monotonic() - begun < SOON


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        (b"\x80\x2e\x01\x03\x01" + bytes(43), bytes([ALERT])),
        (record(HANDSHAKE, b"\x02\0\0\0"), bytes([ALERT])),
    ],
    ids=["plaintext", "SSL 2", "another message"],
)
def test_who_sends_no_greeting_is_let_go_at_once(sent: bytes, said: bytes, encrypted: Front) -> None:
    """With the alert of OpenSSL, where it has one."""
    begun = time.monotonic()
    with opened(encrypted, sent) as client:
        received = b""
        while part := client.recv(100):
            received += part
    assert received[:1] == said
    assert time.monotonic() - begun < SOON

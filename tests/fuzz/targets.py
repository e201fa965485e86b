"""What is fuzzed: each target takes any bytes, and raises if the server does what it must not."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final

import hpack
from allocation_gateway.wire.hpack import MALFORMED, CompressionError, Decoder, ExcessiveError
from support.http2 import END_HEADERS, END_STREAM, Kind, Setting, frame, message, settings, window_update

from fuzz import program, server
from fuzz.echo import STREAM, UNARY
from fuzz.peer import GREETING, Peer, is_broken_off
from fuzz.program import Input
from fuzz.server import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fuzz.server import World

_LIST_SIZE: Final = 1_000
_MOST_CALLS: Final = 10
# Longer than the server waits for anything that only clients can do.
_FOREVER: Final = (21.0, 11.0, 6.0, 6.0)
_ROOM: Final = 65_535
_LARGEST_WINDOW: Final = 2**31 - 1
# More pieces than that only take their time.
_MOST_PIECES: Final = 100
# A step that is none of program.SENDING.
_ACTIONS: Final = 6
_MOST_MEMBERS: Final = 16
_ASKS: Final = message(b"still there?")


class _Client:
    """Sends to the server of a world, and checks what comes back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.peer = Peer()
        self.is_gone = False
        self._seen = 0

    def send(self, data: bytes, part: int = 0) -> None:
        """Sends bytes, in parts of so many if that is not 0."""
        self.peer.sends(data)
        for piece in _pieces(data, part):
            self.world.transport.give(piece)

    async def settle(self) -> None:
        """Waits until all is done, and checks what came."""
        await self.world.settle()
        taken = self.world.transport.taken
        self.peer.takes(bytes(taken[self._seen :]))
        self._seen = len(taken)
        assert self.world.witness.running <= _MOST_CALLS, "more calls run than may"

    async def leave(self) -> None:
        """Checks that the server is still of use, or has said that it is not, and that nothing runs for ever."""
        transport, peer = self.world.transport, self.peer
        transport.read(really=True)
        await self.settle()
        if not self.is_gone and not transport.is_closing() and not transport.has_ended and peer.is_in_step:
            await self._ask()
        for seconds in _FOREVER:
            await self.world.wait(seconds)
            await self.settle()
        assert transport.is_lost, "a connection stays whose client answers no ping"
        if transport.has_ended:
            peer.ends()

    async def _ask(self) -> None:
        """Makes a call as any client does. It has to be answered, unless no more calls are taken."""
        peer = self.peer
        if peer.goaways or peer.last >= 2**31 - 3:
            return
        stream = peer.last + 2 - (not peer.last & 1)
        self.send(
            settings({Setting.INITIAL_WINDOW_SIZE: _ROOM})
            + frame(Kind.HEADERS, END_HEADERS, stream, program.call_headers(UNARY))
            + frame(Kind.DATA, END_STREAM, stream, _ASKS)
            + window_update(stream, _ROOM)
            + window_update(0, _ROOM if peer.window + _ROOM < _LARGEST_WINDOW else 1)
        )
        await self.settle()
        answered = peer.streams[stream]
        refused = answered.resets == [7] or is_broken_off(peer) or peer.goaways
        # All that others have not taken yet may stand before it, in a window that is not widened.
        assert answered.status == 0 or refused or peer.window <= 0, f"no answer: {answered}"


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cuts bytes into pieces of a size, or larger ones if there were too many; 0 leaves them whole."""
    size = max(size, len(data) // _MOST_PIECES + 1) if size else len(data) or 1
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _connection(data: bytes) -> bytes:
    """What a client does, step by step. Returns all that it has sent."""
    given = Input(data)
    async with server.opened() as world:
        client = _Client(world)
        if given.byte() < 250:
            world.transport.give(GREETING)
            client.send(settings())
        stopping: asyncio.Task[None] | None = None
        while not given.is_over:
            step = given.choice(len(program.SENDING) + _ACTIONS)
            part = 0
            if step < len(program.SENDING):
                part = (0, 0, 0, 0, 1, 7, 10, 100)[given.choice(8)]
                client.send(program.SENDING[step](given, client.peer), part)
                if given.byte() & 1:
                    continue  # more comes in the same turn of the loop
            else:
                match step - len(program.SENDING):
                    case 0 | 1:
                        await world.wait(program.TIMES[given.choice(len(program.TIMES))])
                    case 2:
                        world.transport.read(really=False)
                    case 3:
                        world.transport.read(really=True)
                    case 4:
                        client.is_gone = True
                        if given.byte() & 1:
                            world.transport.end()
                        else:
                            world.transport.cut()
                    case _:
                        stopping = stopping or asyncio.create_task(world.engine.stop(given.byte() / 8))
            await client.settle()
        sent = bytes(world.transport.given)
        await client.leave()
        if stopping is not None:
            await stopping
    return sent


async def _octets(data: bytes) -> bytes:
    """Any bytes, after the greeting or from the very beginning. Returns all that was sent."""
    async with server.opened() as world:
        client = _Client(world)
        given = Input(data)
        first = given.byte()
        if first & 1:
            world.transport.give(GREETING)
            client.send(given.rest(), first >> 4)
        else:
            octets = given.rest()
            client.is_gone = not octets.startswith(GREETING)
            client.peer.sends(octets[len(GREETING) :])
            for piece in _pieces(octets, first >> 4):
                world.transport.give(piece)
        await client.settle()
        sent = bytes(world.transport.given)
        await client.leave()
    return sent


async def _messages(data: bytes) -> bytes:
    """The body of a call: what its handler is given is what was sent, whatever it is cut into. Returns all of it."""
    given = Input(data)
    is_unary, encoding = given.byte() & 1, program.ENCODINGS[given.choice(3)]
    size = given.byte()
    body = b"" if given.byte() & 1 else b"".join(program.a_message(given) for _ in range(given.byte() % 4))
    body += given.take(1_000)
    headers = program.call_headers(UNARY if is_unary else STREAM, encoding)
    sent, is_whole = _read(body, encoding)
    async with server.opened() as world:
        client = _Client(world)
        world.transport.give(GREETING)
        client.send(settings() + frame(Kind.HEADERS, END_HEADERS, 1, headers))
        for piece in _pieces(body, size):
            client.send(frame(Kind.DATA, 0, 1, piece))
        client.send(frame(Kind.DATA, END_STREAM, 1, b""))
        await client.settle()
        seen = list(world.witness.messages)
        octets = bytes(world.transport.given)
        await client.leave()
        if is_unary:
            assert seen == (sent if is_whole and len(sent) == 1 else []), (seen, sent)
        else:
            assert seen == sent[: len(seen)], (seen, sent)
            assert seen == sent or not is_whole or any(one[:1] not in b"eh" for one in sent), (seen, sent)
    return octets


def _read(body: bytes, encoding: str) -> tuple[list[bytes], bool]:
    """Reads messages as the protocol says, and as simply as can be. Returns them, and whether nothing else is there."""
    found: list[bytes] = []
    while body:
        size = 5 + int.from_bytes(body[1:5], "big")
        if len(body) < max(5, size) or size > 5 + MAX_MESSAGE or body[0] > 1:
            return found, False
        one, body = (body[0], body[5:size]), body[size:]
        if one[0]:
            if encoding == "identity":
                return found, False
            text = _unpacked(one[1], encoding)
            if text is None:
                return found, False
            found.append(text)
        else:
            found.append(one[1])
    return found, True


def _unpacked(body: bytes, encoding: str) -> bytes | None:
    """Returns a message that is compressed, of several members if it is by gzip; None if it is not right."""
    text, members, rest = b"", 0, body
    while rest or not members:
        unzip = zlib.decompressobj(31 if encoding == "gzip" else 15)
        try:
            text += unzip.decompress(rest)
        except zlib.error:
            return None
        members, rest = members + 1, unzip.unused_data
        if not unzip.eof or len(text) > MAX_MESSAGE or members > (_MOST_MEMBERS if encoding == "gzip" else 1):
            return None
    return text


def _headers(data: bytes) -> None:
    """Blocks of headers: the decoder reads them as the hpack package does, and none that it does not."""
    own, other = Decoder(_LIST_SIZE), hpack.Decoder(max_header_list_size=1 << 20)
    given = Input(data)
    while not given.is_over:
        block, is_last = given.take(given.byte()), False
        try:
            found = own.decode(block)
        except CompressionError:
            return
        except ExcessiveError:
            found, is_last = None, True
        try:
            wanted = [(_bytes(name), _bytes(value)) for name, value in other.decode(block, raw=True)]
        except hpack.HPACKError as error:
            if is_last:  # what is wrong with it may come after what is too much
                return
            raise AssertionError(f"{found} is read of what is no block of headers: {error}") from error
        size = sum(len(name) + len(value) + 32 for name, value in wanted)
        if found is None:
            assert size > _LIST_SIZE, (size, wanted)
            if is_last:
                return
            continue
        assert size <= _LIST_SIZE
        assert len(found) == len(wanted), (found, wanted)
        for field, (name, value) in zip(found, wanted, strict=True):
            if field != MALFORMED and field[0]:
                assert (field[0].encode("latin-1"), field[1].encode("latin-1")) == (name, value)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


OVER_A_CONNECTION: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "connection": lambda data: server.run(_connection(data)),
    "octets": lambda data: server.run(_octets(data)),
    "messages": lambda data: server.run(_messages(data)),
}
"""Those that return the bytes that were sent to the server."""
TARGETS: Final[Mapping[str, Callable[[bytes], object]]] = {**OVER_A_CONNECTION, "headers": _headers}

"""A client of TLS 1.3 that makes its records by hand, once OpenSSL has made its handshake.

Python's ssl neither changes the keys of a connection nor sends records without data. What OpenSSL has agreed on with
the server it writes into a file, as it does for tools that look into recordings: from that, the keys follow (RFC 8446,
section 7). What the server says is decrypted by OpenSSL.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hmac
import ssl
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

if TYPE_CHECKING:
    import socket

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
HEADER_SIZE: Final = 5
# What a handshake message is that changes the keys of whoever sends it, and asks the other side to change its own.
_KEY_UPDATE: Final = 24
# Where the random bytes of a ClientHello are in the first record.
_RANDOM: Final = slice(11, 43)
_KEY_SIZES: Final = {"TLS_AES_128_GCM_SHA256": 16, "TLS_AES_256_GCM_SHA384": 32, "TLS_CHACHA20_POLY1305_SHA256": 32}
_TAG_SIZE: Final = 16


def record(kind: int, body: bytes) -> bytes:
    """Returns a record as it is on the wire."""
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


class Sealer:
    """Makes the records of one direction."""

    def __init__(self, cipher: str, secret: bytes) -> None:
        """Starts with what was agreed on.

        Args:
            cipher: The name of the cipher suite.
            secret: The traffic secret of the direction.
        """
        self._cipher = cipher
        self._hash = cipher.rpartition("_")[2].lower()
        self._secret = secret
        self._start()

    def _start(self) -> None:
        key = self._expanded("key", _KEY_SIZES[self._cipher])
        self._aead = ChaCha20Poly1305(key) if "CHACHA" in self._cipher else AESGCM(key)
        self._mask = int.from_bytes(self._expanded("iv", 12))
        self._number = 0

    def _expanded(self, label: str, size: int) -> bytes:
        name = b"tls13 " + label.encode()
        asked = struct.pack(">HB", size, len(name)) + name + b"\0"
        return hmac.digest(self._secret, asked + b"\x01", self._hash)[:size]

    def sealed(self, kind: int, content: bytes, *, padding: int = 0) -> bytes:
        """Returns an encrypted record."""
        inner = content + bytes([kind]) + bytes(padding)
        header = struct.pack(">BHH", DATA, 0x0303, len(inner) + _TAG_SIZE)
        nonce = (self._mask ^ self._number).to_bytes(12)
        self._number += 1
        return header + self._aead.encrypt(nonce, inner, header)

    def data(self, content: bytes) -> bytes:
        """Returns a record of data, which may be empty."""
        return self.sealed(DATA, content)

    def key_update(self, *, asks: bool = False) -> bytes:
        """Returns a record that changes the keys, with which the records after it are made.

        Args:
            asks: Whether the other side is to change its keys too.
        """
        made = self.sealed(HANDSHAKE, struct.pack(">B3sB", _KEY_UPDATE, b"\0\0\x01", asks))
        self._secret = self._expanded("traffic upd", len(self._secret))
        self._start()
        return made


class _Secrets:
    """The file that OpenSSL writes secrets into, and what was read of it.

    Attributes:
        name: The file.
    """

    def __init__(self) -> None:
        # It lasts as long as this process does.
        with tempfile.NamedTemporaryFile(prefix="tls-secrets-", delete=False) as file:
            self.name = file.name
        atexit.register(Path(self.name).unlink)
        self._read = 0
        self._found: dict[str, str] = {}

    def take(self, random: bytes) -> bytes:
        """Returns what a client's keys follow from, by what it has sent in its greeting. It can be had once."""
        with Path(self.name).open() as file:
            file.seek(self._read)
            for line in file:
                if line.startswith("CLIENT_TRAFFIC_SECRET_0 "):
                    _, its_random, secret = line.split()
                    self._found[its_random] = secret
            self._read = file.tell()
        return bytes.fromhex(self._found.pop(random.hex()))


_secrets = functools.cache(_Secrets)


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Returns what a client of TLS 1.3 needs that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    context.keylog_filename = _secrets().name
    return context


class HandmadeClient:
    """One end of a connection, in place of a socket. Data is sent in records of its own, and by hand.

    Attributes:
        plain: The socket.
        seal: Makes the records. It is there when the handshake has ended.
    """

    seal: Sealer

    def __init__(self, plain: socket.socket) -> None:
        """Starts with a socket that is connected. If that does not block, neither does this."""
        self.plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = _trusting().wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._random = b""

    def do_handshake(self) -> None:
        """Makes the handshake.

        Raises:
            BlockingIOError: The socket does not block, and the server has not answered yet: it is to be called again.
            OSError: The server refuses it.
        """
        while True:
            is_done = False
            with contextlib.suppress(ssl.SSLWantReadError):
                self._object.do_handshake()
                is_done = True
            if sent := self._outgoing.read():
                self._random = self._random or sent[_RANDOM]
                self.plain.sendall(sent)
            if is_done:
                break
            received = self.plain.recv(1 << 16)
            if not received:
                raise ConnectionResetError
            self._incoming.write(received)
        cipher = self._object.cipher()
        assert cipher is not None
        self.seal = Sealer(cipher[0], _secrets().take(self._random))

    def send(self, data: bytes | memoryview) -> int:
        """Sends bytes as they are."""
        return self.plain.send(data)

    def sendall(self, data: bytes) -> None:
        """Sends data, in a record for each 16 KiB."""
        self.plain.sendall(b"".join(self.seal.data(data[at : at + 16_384]) for at in range(0, len(data), 16_384)))

    def recv(self, size: int) -> bytes:
        """Returns data that the server has sent; none if it has closed the connection."""
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return self._object.read(size)
            received = self.plain.recv(1 << 16)
            if not received:
                return b""
            self._incoming.write(received)

    def settimeout(self, seconds: float | None) -> None:
        """See socket.socket."""
        self.plain.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        """See socket.socket."""
        self.plain.shutdown(how)

    def fileno(self) -> int:
        """See socket.socket."""
        return self.plain.fileno()

    def close(self) -> None:
        """See socket.socket."""
        self.plain.close()

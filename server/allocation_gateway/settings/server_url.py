"""The URL of a Valkey or Redis server: what it may hold, checked before anything connects.

A password with a slash or a hash that is not percent-encoded makes another host of the URL. So everything in it is
looked at, and no text of an error repeats what could be a part of the password.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from allocation_gateway.settings.known_secrets import KNOWN
from allocation_gateway.settings.password_files import read_password
from allocation_gateway.settings.server_url_options import MOST_DATABASES, read_options

if TYPE_CHECKING:
    from collections.abc import Mapping

# Whether each scheme is with TLS.
_SCHEMES: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SEVERAL: Final = re.compile(r"[+-](sentinel|cluster)$")
_DEFAULT_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_ENCODE: Final = "user name and password must be percent-encoded: / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class ServerUrl(NamedTuple):
    """Where a server is, and how it is spoken to.

    Attributes:
        host: Its name or address.
        port: Its port.
        is_tls: Whether it is spoken to by TLS.
        username: Who logs in; empty for the server's default user.
        password: With which password; empty without one.
        database: The number of the database.
        options: What the query says, by the names and with the values that the client library takes.
        sentinels: Where the Sentinels are that tell which server is the primary; empty if the URL names it.
        service: The name that they know it by.
        sentinel_username: Who logs in at them; empty for their default user.
        sentinel_password: With which password; empty without one.
        nodes: Where nodes of a cluster are, which tell of the others; empty if it is no cluster.
        password_file: The file that holds the password instead, which may be replaced; empty if none does.
        sentinel_password_file: The same of their password.
        is_clustered: Whether the URL is one of a cluster, also when this is where one of its nodes is.
    """

    host: str
    port: int
    is_tls: bool
    username: str
    password: str
    database: int
    options: Mapping[str, Any]
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    password_file: str = ""
    sentinel_password_file: str = ""
    nodes: tuple[tuple[str, int], ...] = ()
    is_clustered: bool = False

    def with_password(self) -> ServerUrl:
        """Returns the same with the password that its file holds now.

        Raises:
            OSError: The file cannot be read, or holds no password.
        """
        if not self.password_file:
            return self
        return self._replace(password=read_password(self.password_file))

    def at(self, host: str, port: int) -> ServerUrl:
        """Returns the same of a server that the Sentinels, or other nodes of the cluster, have told."""
        told = self._replace(host=host, port=port, sentinels=(), service="", nodes=())
        return told._replace(sentinel_username="", sentinel_password="", sentinel_password_file="")

    def of_sentinels(self) -> ServerUrl:
        """Returns the same with who logs in at the Sentinels as who logs in."""
        password, file = self.sentinel_password, self.sentinel_password_file
        return self._replace(username=self.sentinel_username, password=password, password_file=file)

    @property
    def address(self) -> str:
        """The host and the port as people write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"ServerUrl({self.address})"


def files(url: ServerUrl) -> Mapping[str, str]:
    """Returns the files that a URL names, by the names of its options."""
    passwords = {"password_file": url.password_file, "sentinel_password_file": url.sentinel_password_file}
    named = {**passwords, **{name: url.options.get(name, "") for name in _TLS_FILES}}
    return {name: file for name, file in named.items() if file}


def parse(url: str) -> ServerUrl:
    """Reads a URL.

    Raises:
        ValueError: It is none of a server. The text says what is wrong, and holds no part of user name or password.
    """
    scheme, separator, rest = url.partition("://")
    kind, several = _SEVERAL.sub("", scheme.lower()), _SEVERAL.search(scheme.lower())
    if not separator or kind not in _SCHEMES:
        raise ValueError(
            "must be a redis:// or rediss:// URL (or valkey://, valkeys://, redis+sentinel://, redis+cluster://)"
        )
    if any(not character.isprintable() or character.isspace() for character in rest):
        # Python would leave out a line break, and take the rest for the address.
        raise ValueError("holds a space or a control character, which must be percent-encoded")
    try:
        parts = _split(scheme, rest)
    except ValueError:
        # Brackets, or letters that stand for others. The text of the error can hold the password.
        raise ValueError(_ENCODE) from None
    try:
        read = _READERS[several.group(1)] if several else _read_server
        found = read(parts, is_tls=_SCHEMES[kind])
    except ValueError:
        # Whatever is wrong is so since the URL was taken apart in the wrong places.
        if "@" in _after_authority(rest):
            raise ValueError(_ENCODE) from None
        raise
    for secret in (found.password, found.sentinel_password, found.options.get("ssl_password", "")):
        KNOWN.add(secret)
    return found


def _split(scheme: str, rest: str) -> SplitResult:
    """Takes a URL apart, whose authority may name several hosts.

    Python looks at brackets in an authority since 3.11.12, 3.12.9 and 3.13.2, and takes several hosts for one.

    Raises:
        ValueError: A host cannot be one.
    """
    tail = _after_authority(rest)
    authority = rest.removesuffix(tail) if tail else rest
    user, at, hosts = authority.rpartition("@")
    for host in hosts.split(","):
        urlsplit(f"{scheme}://{user}{at}{host}")
    return urlsplit(f"{scheme}://{tail}")._replace(netloc=authority)


def _after_authority(rest: str) -> str:
    """Returns what comes after the host and the port, by the first character that ends them."""
    found = re.search(r"[/?#]", rest)
    return rest[found.start() :] if found else ""


def _read_server(parts: SplitResult, *, is_tls: bool) -> ServerUrl:
    url = _read(parts, is_tls=is_tls)
    for name in url.options:
        if name.startswith("sentinel_"):
            raise ValueError(f"the option {name} needs Sentinels, which redis+sentinel:// URLs have")
    return url


def _read_cluster(parts: SplitResult, *, is_tls: bool) -> ServerUrl:
    """Reads the URL of a cluster: the addresses of some of its nodes."""
    user, at, hosts = parts.netloc.rpartition("@")
    nodes = [parts._replace(netloc=host) for host in hosts.split(",")]
    named = [(_host(node), _port(node)) for node in nodes]
    url = _read_server(parts._replace(netloc=f"{user}{at}{nodes[0].netloc}"), is_tls=is_tls)
    if url.database:
        raise ValueError("a cluster has only database 0")
    return url._replace(nodes=tuple(named), is_clustered=True)


def _read_sentinels(parts: SplitResult, *, is_tls: bool) -> ServerUrl:
    """Reads the URL of a server that Sentinels tell: their addresses, and the server's name before its database."""
    user, at, hosts = parts.netloc.rpartition("@")
    sentinels = [parts._replace(netloc=host) for host in hosts.split(",")]
    service, _, database = parts.path.removeprefix("/").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", service):
        raise ValueError(
            "what follows the Sentinels must be the name that they know the primary by, such as /mymaster/0"
        )
    named = [(_host(sentinel), _port(sentinel, _SENTINEL_PORT)) for sentinel in sentinels]
    url = _read(parts._replace(netloc=f"{user}{at}{sentinels[0].netloc}", path=f"/{database}"), is_tls=is_tls)
    options = dict(url.options)
    return url._replace(
        port=named[0][1],
        sentinels=tuple(named),
        service=service,
        sentinel_username=options.pop("sentinel_username", ""),
        sentinel_password=options.pop("sentinel_password", ""),
        sentinel_password_file=options.pop("sentinel_password_file", ""),
        options=options,
    )


_READERS: Final = {"sentinel": _read_sentinels, "cluster": _read_cluster}


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host:
        raise ValueError("must be a redis:// or rediss:// URL that names a host")
    if not _HOST.fullmatch(host):
        raise ValueError(f"the host holds characters that no name of a host has; {_ENCODE}")
    return host


def _read(parts: SplitResult, *, is_tls: bool) -> ServerUrl:
    host = _host(parts)
    if parts.fragment:
        raise ValueError(f"must not hold a fragment (#); {_ENCODE}")
    options = read_options(parts.query, is_tls=is_tls)
    database = _database(parts.path, options.pop("db", None))
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise ValueError("the option ssl_keyfile needs ssl_certfile")
    password, password_file = unquote(parts.password or ""), options.pop("password_file", "")
    if password and password_file:
        raise ValueError("the option password_file must not be given together with another password")
    if {"sentinel_password", "sentinel_password_file"} <= options.keys():
        raise ValueError("the option sentinel_password_file must not be given together with another password")
    return ServerUrl(
        host,
        _port(parts),
        is_tls,
        unquote(parts.username or ""),
        password,
        database,
        options,
        password_file=password_file,
    )


def _port(parts: SplitResult, default: int = _DEFAULT_PORT) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(
            "the port must be a whole number from 1 to 65535; a user name and a password end with @, before the host"
        )
    return port or default


def _database(path: str, option: int | None) -> int:
    if path in {"", "/"}:
        return option or 0
    number = path.removeprefix("/").removesuffix("/")
    if not re.fullmatch(r"[0-9]{1,10}", number) or int(number) > MOST_DATABASES:
        raise ValueError("what follows the host must be the number of a database, such as /0")
    if option is not None and option != int(number):
        raise ValueError("the path and the option db name different databases")
    return int(number)

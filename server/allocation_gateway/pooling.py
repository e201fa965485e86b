"""Connections to a Valkey or Redis server."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from allocation_gateway.settings import server_url

if TYPE_CHECKING:
    from allocation_gateway.settings import Secret
    from allocation_gateway.settings.server_url import ServerUrl

# Seconds that a trial of a connection may take.
_TRIAL_SECONDS: Final = 5.0
_VERIFY_MODES: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def open_pool(url: Secret, *, connections: int, timeout: float) -> ConnectionPool:
    """Returns connections that are made on demand. Nothing is tried again: whoever asks knows better whether to.

    Args:
        url: Where the server is, with its credentials.
        connections: How many there may be. Further commands wait for one, but for a server that Sentinels tell.
        timeout: Seconds for that wait, for connecting, and for each command.

    Raises:
        ValueError: The URL is none of a server.
    """
    return _pool(server_url.parse(url.reveal()), connections=connections, timeout=timeout)


def _pool(target: ServerUrl, *, connections: int, timeout: float) -> ConnectionPool:
    options: dict[str, Any] = {
        **connection_options(target, timeout=timeout),
        "db": target.database,
        **_credentials(target),
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
    }
    if target.sentinels:
        sentinel = open_sentinel(target, timeout=timeout)
        return SentinelConnectionPool(target.service, sentinel, ssl=target.is_tls, **options)  # type: ignore[no-untyped-call]
    return BlockingConnectionPool(
        connection_class=SSLConnection if target.is_tls else Connection,
        max_connections=connections,
        timeout=timeout,
        host=target.host,
        port=target.port,
        **options,
    )


async def try_connection(url: Secret) -> None:
    """Makes a connection and closes it, to see whether the server lets somebody in with what its files hold now.

    Raises:
        RedisError: It has refused that.
        OSError: It cannot be reached, or a file cannot be used. That it does not answer in time is a TimeoutError.
    """
    target = server_url.parse(url.reveal())
    failure: BaseException | None = None
    is_in = False
    # Of a cluster, each node has users of its own: all that are named and answer have to know this one.
    for host, port in target.nodes or ((target.host, target.port),):
        pool = _pool(target._replace(host=host, port=port), connections=1, timeout=_TRIAL_SECONDS)
        try:
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]
            await pool.release(connection)
            is_in = True
        except exceptions.AuthenticationError:
            raise
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            failure = error
        finally:
            await close_pool(pool)
    if failure is not None and not is_in:
        raise failure


class _FileCredentials(CredentialProvider):
    """The password of a file, which is read anew for each connection."""

    def __init__(self, target: ServerUrl) -> None:
        self._target = target

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._target.with_password().password
        return (self._target.username, password) if self._target.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)


def _credentials(target: ServerUrl) -> dict[str, Any]:
    if target.password_file:
        return {"credential_provider": _FileCredentials(target)}
    return {"username": target.username or None, "password": target.password or None}


async def close_pool(pool: ConnectionPool) -> None:
    """Closes all connections, those to Sentinels too."""
    await pool.disconnect()
    if isinstance(pool, SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def open_sentinel(target: ServerUrl, *, timeout: float) -> Sentinel:
    """Returns clients of the Sentinels of a URL. Each command may take so many seconds."""
    options = connection_options(target, timeout=timeout)
    return Sentinel(  # type: ignore[no-untyped-call]
        target.sentinels,
        sentinel_kwargs={
            **{name: value for name, value in options.items() if name != "client_name"},
            "ssl": target.is_tls,
            **_credentials(target.of_sentinels()),
            "retry": Retry(NoBackoff(), 0),
        },
    )


def connection_options(target: ServerUrl, *, timeout: float) -> dict[str, Any]:
    """Returns what the client library is told of each connection, but for where it leads to and who logs in."""
    return {"socket_timeout": timeout, "socket_connect_timeout": timeout, **target.options}


def tls_context(target: ServerUrl) -> ssl.SSLContext:
    """Returns the TLS that the options of a URL describe. Their files are read anew: certificates are replaced.

    Raises:
        OSError: A file cannot be read, or holds no certificate or no key.
    """
    options = target.options
    context = ssl.create_default_context()
    verification = options.get("ssl_cert_reqs", "required")
    context.check_hostname = verification != "none" and options.get("ssl_check_hostname", True)
    context.verify_mode = _VERIFY_MODES[verification]
    if "ssl_certfile" in options:
        # Without a password, an encrypted key would make OpenSSL ask for one on the terminal.
        password = options.get("ssl_password", "")
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), password=password)
    if "ssl_ca_certs" in options or "ssl_ca_path" in options:
        context.load_verify_locations(options.get("ssl_ca_certs"), options.get("ssl_ca_path"))
    if "ssl_min_version" in options:
        context.minimum_version = options["ssl_min_version"]
    if "ssl_ciphers" in options:
        context.set_ciphers(options["ssl_ciphers"])
    return context

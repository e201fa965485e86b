"""Engines that were compared with the gateway's own ones and not chosen: see docs/decisions/0001-http-engine.md.

Each does with the public interface of its library what can be done with it, so that the tests in tests/engines say what
cannot.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import httpx2
from allocation_gateway.settings import LOOPBACK
from allocation_gateway.upstream.engines.body import Body
from allocation_gateway.upstream.engines.trust import client_context
from allocation_gateway.upstream.http import Answer, NoAnswerError
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ClientClosedError, ConnectError, ConnectTimeoutError, RequestError
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocation_gateway.upstream.http import Attempt, Target

_KEEPALIVE_EXPIRY: Final = 15.0
_LARGEST_HEADER: Final = 65_536


def _reads_environment(target: Target) -> bool:
    return urlsplit(target.base_url).hostname not in LOOPBACK


class AiohttpEngine:
    """Over aiohttp."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._base = target.base_url
        self._session: aiohttp.ClientSession | None = None
        self.use_headers(target.headers)

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """See Engine."""
        self._headers = list(headers)

    def _opened(self) -> aiohttp.ClientSession:
        """Returns the session, which wants to be made where an event loop runs."""
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_create_end.append(self._begin)
            tracing.on_connection_reuseconn.append(self._begin)
            target = self._target
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=target.max_connections, keepalive_timeout=_KEEPALIVE_EXPIRY, ssl=client_context()
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=_reads_environment(target),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=target.connect_timeout),
                max_line_size=_LARGEST_HEADER,
                max_field_size=_LARGEST_HEADER,
                trace_configs=[tracing],
            )
        return self._session

    @staticmethod
    async def _begin(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.begin()

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """See Engine."""
        further = [(name.decode(), value.decode()) for name, value in headers]
        try:
            response = await self._opened().request(
                method,
                URL(self._base + path, encoded=True),
                data=body,
                headers=[*self._headers, *further],
                allow_redirects=False,
                trace_request_ctx=attempt,
            )
        except (aiohttp.ConnectionTimeoutError, TimeoutError) as error:
            raise NoAnswerError("connecting took too long") from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise NoAnswerError("no connection could be made") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise NoAnswerError("the connection was lost") from error
        content = Body(self._target.max_answer_bytes, response.headers.get("content-encoding", "identity"))
        try:
            async for part in response.content.iter_any():
                if not content.add(part):
                    break
        except (aiohttp.ClientError, OSError):
            content.cut_short()
        finally:
            response.close() if content.problem else response.release()
        return Answer(response.status, response.headers, *content.whole())

    def connections(self) -> Mapping[str, int]:
        """Tells nothing: only the gateway's engines are observed."""
        return {}

    async def close(self) -> None:
        """See Engine."""
        if self._session is not None:
            await self._session.close()


class Httpx2Engine:
    """Over httpx2, without what the engine over httpx does about the leaks of httpcore."""

    def __init__(self, target: Target) -> None:
        self._base = httpx2.URL(target.base_url)
        self._prefix = self._base.raw_path.rstrip(b"/")
        self.use_headers(target.headers)
        self._max_answer_bytes = target.max_answer_bytes
        self._timeout = {"connect": target.connect_timeout, "read": None, "write": None, "pool": None}
        self._client = httpx2.AsyncClient(
            verify=client_context(),
            limits=httpx2.Limits(
                max_connections=target.max_connections,
                max_keepalive_connections=target.max_connections,
                keepalive_expiry=_KEEPALIVE_EXPIRY,
            ),
            follow_redirects=False,
            trust_env=_reads_environment(target),
        )

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """See Engine."""
        self._headers = [(name.encode(), value.encode()) for name, value in headers]

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """See Engine."""

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
                attempt.begin()

        request = httpx2.Request(
            method,
            self._base.copy_with(raw_path=self._prefix + path.encode("ascii")),
            headers=[*self._headers, *headers],
            content=body,
            extensions={"timeout": self._timeout, "trace": trace},
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.ConnectTimeout as error:
            raise NoAnswerError("connecting took too long") from error
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            raise NoAnswerError("no connection could be made") from error
        except (httpx2.TransportError, RuntimeError) as error:
            raise NoAnswerError("the connection was lost") from error
        content = Body(self._max_answer_bytes, response.headers.get("content-encoding", "identity"))
        try:
            async for part in response.aiter_raw():
                if not content.add(part):
                    break
        except httpx2.TransportError:
            content.cut_short()
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, *content.whole())

    def connections(self) -> Mapping[str, int]:
        """Tells nothing: only the gateway's engines are observed."""
        return {}

    async def close(self) -> None:
        """See Engine."""
        await self._client.aclose()


class PyreqwestEngine:
    """Over pyreqwest, which does not tell when it sends: a request counts as sent from before it connects."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client: Client | None = None

    def use_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """See Engine."""
        self._target = self._target._replace(headers=headers)
        self._client = None

    def _opened(self) -> Client:
        if self._client is None:
            target = self._target
            builder = (
                ClientBuilder()
                .max_connections(target.max_connections)
                .pool_idle_timeout(timedelta(seconds=_KEEPALIVE_EXPIRY))
                .connect_timeout(timedelta(seconds=target.connect_timeout))
                .timeout(timedelta(days=1))
                .default_headers(list(target.headers))
                .follow_redirects(False)
                .gzip(False)
                .http1_lower_case_headers()
            )
            if authorities := os.environ.get("SSL_CERT_FILE"):
                builder = builder.add_root_certificate_pem(Path(authorities).read_bytes())
            self._client = (builder if _reads_environment(target) else builder.no_proxy()).build()
        return self._client

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Sequence[tuple[bytes, bytes]],
        attempt: Attempt,
    ) -> Answer:
        """See Engine."""
        request = self._opened().request(method, self._target.base_url + path)
        if headers:
            request = request.headers([(name.decode(), value.decode()) for name, value in headers])
        if body is not None:
            request = request.body_bytes(body)
        request = request.streamed_read_buffer_limit(0)
        attempt.begin()
        try:
            async with request.build_streamed() as response:
                encoding = response.get_header("content-encoding")
                content = Body(self._target.max_answer_bytes, encoding or "identity")
                try:
                    while (part := await response.body_reader.read_chunk()) is not None:
                        if not content.add(bytes(part)):
                            break
                except RequestError:
                    content.cut_short()
                return Answer(response.status, dict(response.headers), *content.whole())
        except ConnectTimeoutError as error:
            raise NoAnswerError("connecting took too long") from error
        except ValueError as error:  # a header that is not UTF-8
            raise NoAnswerError("the answer is not HTTP") from error
        except (ConnectError, ClientClosedError) as error:
            raise NoAnswerError("no connection could be made") from error
        except RequestError as error:
            raise NoAnswerError("the connection was lost") from error

    def connections(self) -> Mapping[str, int]:
        """Tells nothing: only the gateway's engines are observed."""
        return {}

    async def close(self) -> None:
        """See Engine."""
        if self._client is not None:
            await self._client.close()

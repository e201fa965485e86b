"""Proves a configuration against the real upstream with one harmless GET, and says what is wrong with it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs import json
from allocation_gateway.upstream import error_table
from allocation_gateway.upstream.dialect import ErrorBody
from allocation_gateway.upstream.failures import DIALECTS
from allocation_gateway.upstream.http import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.upstream.client import Upstream
    from allocation_gateway.upstream.http import Answer

_OK: Final = 200
_NOT_FOUND: Final = 404
_CREDENTIALS: Final = frozenset({401, 403})


async def problem(upstream: Upstream) -> str:
    """Reads something that does not exist. Returns what is wrong, naming the setting; empty if nothing is."""
    try:
        answer = await upstream.probe()
    except NoAnswerError as error:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLError):
                return f"{upstream.where('base_url')}: TLS failed: {cause.reason or cause}"
        return f"{upstream.where('base_url')}: {error}"
    except TimeoutError:
        return f"{upstream.where('base_url')}: there was no answer in time"
    return _problem_of(upstream, answer)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _problem_of(upstream: Upstream, answer: Answer) -> str:
    try:
        body = json.decode(answer.body)
    except json.NotJsonError:
        body = None
    dialect = DIALECTS[upstream.api]
    error = dialect.error_body(body) if isinstance(body, dict) else ErrorBody()
    codes = [*(complaint.code for complaint in error.complaints), error.code]
    known = [dialect.by_code[code] for code in codes if code in dialect.by_code]
    status = f"(HTTP status {answer.status})"
    if error_table.MISCONFIGURED in known:
        return f"{upstream.where('api_version')}: upstream does not accept the version {status}"
    if error_table.CREDENTIALS in known or answer.status in _CREDENTIALS:
        return f"{upstream.where('api_key')}: upstream does not accept the key {status}"
    if known or (error.is_own and answer.status == _NOT_FOUND) or (answer.status == _OK and isinstance(body, dict)):
        return ""
    return f"{upstream.where('base_url')}: what answers there is not the API {status}"

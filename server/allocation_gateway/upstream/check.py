"""Proves a configuration against the real upstream with one harmless GET, and says what is wrong with it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs import json
from allocation_gateway.settings import variable
from allocation_gateway.upstream.failures import BY_CODE, BY_STATUS, codes_of
from allocation_gateway.upstream.http import Attempt, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocation_gateway.upstream.client import Upstream
    from allocation_gateway.upstream.http import Answer

# Well formed, and nobody's: reading it changes nothing, whatever comes back.
_PATH: Final = "/shipments/sp_00000000000000000000000000000000"
_VERSION: Final = frozenset({"version_header_error", "version_header_missing"})


async def problem(upstream: Upstream) -> str:
    """Reads a shipment that does not exist. Returns what is wrong, naming the setting; empty if nothing is."""
    try:
        answer = await upstream.get(_PATH, Attempt())
    except NoAnswerError as error:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLError):
                return f"{variable('ship_base_url')}: TLS failed: {cause.reason or cause}"
        return f"{variable('ship_base_url')}: {error}"
    except TimeoutError:
        return f"{variable('ship_base_url')}: there was no answer in time"
    return _problem_of(answer)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _problem_of(answer: Answer) -> str:
    try:
        body = json.decode(answer.body)
    except json.NotJsonError:
        body = None
    codes = codes_of(body) if isinstance(body, dict) else []
    if _VERSION.intersection(codes):
        return f"{variable('ship_api_version')}: upstream does not accept the version"
    verdicts = [BY_CODE[code] for code in codes if code in BY_CODE]
    if BY_STATUS[401] in verdicts or answer.status in {401, 403}:
        return f"{variable('ship_api_key')}: upstream does not accept the key (HTTP status {answer.status})"
    if verdicts or (answer.status == 200 and isinstance(body, dict)):
        return ""
    return f"{variable('ship_base_url')}: what answers there is not the Ship API (HTTP status {answer.status})"

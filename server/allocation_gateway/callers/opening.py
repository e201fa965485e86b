"""Opens what the settings ask for to know callers and what they may do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from allocation_gateway.following import look
from allocation_gateway.settings import ConfigurationError, variable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from allocation_gateway.callers.guard import Guard
    from allocation_gateway.callers.key_sources import KeySource
    from allocation_gateway.callers.policy_file import PolicyFile
    from allocation_gateway.callers.tokens import Tokens
    from allocation_gateway.following import FollowedFiles
    from allocation_gateway.settings import Settings
    from allocation_gateway.telemetry.telemetry import Telemetry

# What is needed for this is imported on demand: a gateway that asks nobody who it is does not load it.


class CallerFiles(NamedTuple):
    """The contents of the files, which can be used; empty of those that are not configured."""

    keys: bytes = b""
    policy: bytes = b""


def read_files(settings: Settings) -> CallerFiles:
    """Reads the key set and the policy.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    keys = policy = b""
    if settings.jwks_file is not None:
        from allocation_gateway.callers import keys as token_keys

        keys = _content("jwks_file", settings.jwks_file, token_keys.MOST_BYTES)
        try:
            token_keys.parse(keys)
        except ValueError as error:
            raise ConfigurationError(f"{variable('jwks_file')}: {settings.jwks_file}: {error}") from None
    if settings.policy_file is not None:
        from allocation_gateway.callers import policy as policies
        from allocation_gateway.callers import rpcs

        policy = _content("policy_file", settings.policy_file, policies.MOST_BYTES)
        try:
            policies.parse(policy, rpcs.groups())
        except policies.PolicyError as error:
            raise ConfigurationError(f"{variable('policy_file')}: {settings.policy_file}: {error}") from None
    return CallerFiles(keys, policy)


def _content(name: str, file: Path, most: int) -> bytes:
    content = look(file, most).content
    if isinstance(content, str):
        raise ConfigurationError(f"{variable(name)}: {file}: cannot be read: {content}")
    return content


async def open_guard(
    settings: Settings, files: CallerFiles, telemetry: Telemetry, followed: FollowedFiles, stack: AsyncExitStack
) -> Guard | None:
    """Makes what the settings ask for, and starts its background work; None if they ask nobody who it is.

    Args:
        settings: The configuration.
        files: What read_files() has returned.
        telemetry: Where metrics go.
        followed: Takes note of which contents of the files are in use.
        stack: Ends the background work when it is left.
    """
    if not settings.identifies_callers:
        return None
    from allocation_gateway.callers.certificates import CallerCertificates
    from allocation_gateway.callers.guard import Guard

    rereads: list[Callable[[], Awaitable[None]]] = []
    tokens, policy = None, None
    if settings.takes_tokens:
        source = _open_source(settings, files, followed)
        stack.push_async_callback(source.close)
        # Before calls are accepted: without keys, each of them would be refused.
        await source.reread()
        _run(source, rereads, stack)
        tokens = _tokens(settings, source)
    if settings.policy_file is not None:
        from allocation_gateway.callers.policy_file import PolicyFile

        policy = PolicyFile(settings.policy_file, files.policy, followed.add("policy_file"))
        _run(policy, rereads, stack)
    return Guard(tokens, CallerCertificates(), policy, telemetry.metrics, rereads=rereads)


def _run(part: KeySource | PolicyFile, rereads: list[Callable[[], Awaitable[None]]], stack: AsyncExitStack) -> None:
    following = asyncio.create_task(part.run())
    stack.callback(following.cancel)
    rereads.append(part.reread)


def _open_source(settings: Settings, files: CallerFiles, followed: FollowedFiles) -> KeySource:
    from allocation_gateway.callers.key_sources import KeysFromFile, KeysFromUrl

    if settings.jwks_file is not None:
        return KeysFromFile(settings.jwks_file, files.keys, followed.add("jwks_file"))
    return KeysFromUrl(settings.jwks_url)


def _tokens(settings: Settings, source: KeySource) -> Tokens:
    from allocation_gateway.callers.tokens import Tokens

    return Tokens(source, issuer=settings.jwt_issuer, audience=settings.jwt_audience)

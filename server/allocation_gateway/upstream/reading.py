"""Reads answers: small ones at once, and large ones in a thread of their own, for whose sake nobody else waits.

What a thread does in Python yields to others every few milliseconds, and what it does in C does not. So a large answer
has to be one that the parser is through with in a short time: see codecs/json.py. Nor does a garbage collection yield,
which would look through all of the answer's values, and several times: there is none meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from allocation_gateway.codecs import json
from allocation_gateway.upstream import reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from allocation_gateway.operations.model import Operation
    from allocation_gateway.upstream.http import Answer
    from allocation_gateway.upstream.redaction import Redactor
    from allocation_gateway.upstream.reply import Count, Trace

# Up to so many bytes the values are not even counted: nearly every answer is smaller.
_SURELY_SMALL: Final = 8_192
_LARGE: Final = 131_072
# Reading so many values takes some milliseconds.
_MANY_VALUES: Final = 2_000

_MOST_KEYS: Final = 4


class _NoCollections:
    """Keeps the garbage collector from running, in the whole process, while at least one thread asks for that.

    What a reading makes has no cycles and is freed without a collection. Its size is bounded by that of an answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Asks for it until the block is left."""
        with self._lock:
            self._asking += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1
                if not self._asking:
                    gc.enable()


_no_collections: Final = _NoCollections()


class Reading:
    """Reads the answers of one API."""

    def __init__(self, redactor: Redactor) -> None:
        # Of the key in use first, and of those before it, which upstream may still quote.
        self._redactors: tuple[Redactor, ...] = (redactor,)
        # One at a time: they would take the time from each other, and together from the event loop.
        self._apart = ThreadPoolExecutor(1, thread_name_prefix="large-answers")

    def redact(self, redactor: Redactor) -> None:
        """Takes another key out of answers, too."""
        self._redactors = (redactor, *self._redactors)[:_MOST_KEYS]

    async def read(self, operation: Operation, request: Message, answer: Answer, count: Count, trace: Trace) -> Message:
        """Returns the response, without the key wherever the answer quotes it. See reply.read.

        Raises:
            GatewayError: As for reply.read.
        """
        if _is_large(answer):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._apart, self._read, operation, request, answer, count, trace)
        return reply.read(operation, request, self._redacted(answer), count, trace)

    def _read(self, operation: Operation, request: Message, answer: Answer, count: Count, trace: Trace) -> Message:
        with _no_collections.meanwhile():
            return reply.read(operation, request, self.prepared(answer), count, trace)

    def prepared(self, answer: Answer) -> Answer:
        """Returns an answer whose body is decompressed, is not too much to be parsed, and does not quote the key."""
        if answer.packed is not None:
            body, problem = answer.packed.unpacked()
            answer = answer._replace(body=body, problem=problem, packed=None)
        try:
            json.check_extent(answer.body)
        except json.TooMuchError as error:
            return answer._replace(body=b"", problem=f"the body is too much to be read: {error}")
        return self._redacted(answer)

    def _redacted(self, answer: Answer) -> Answer:
        for redactor in self._redactors:
            answer = redactor.redacted(answer)
        return answer

    def close(self) -> None:
        """Takes no further answers."""
        self._apart.shutdown(wait=False, cancel_futures=True)


def _is_large(answer: Answer) -> bool:
    size = len(answer.body)
    if size <= _SURELY_SMALL:
        return answer.packed is not None
    return size > _LARGE or answer.body.count(b",") > _MANY_VALUES

"""What can be set for each API: one schema, and what the two APIs do not share.

In a description, `{api}`, `{prefix}`, `{item}` and `{version_header}` stand for the words of the API.
"""

from __future__ import annotations

# The types of fields are read at run time.
from pathlib import Path  # noqa: TC003
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeAlias

import msgspec

from allocation_gateway.settings.key_files import HEADER_PATTERN
from allocation_gateway.settings.types import (
    Count,
    Limit,
    PerSecond,
    PositiveSeconds,
    Ratio,
    Seconds,
    Secret,
    described,
)
from allocation_gateway.settings.urls import BASE_URL_PATTERN

# The part of the requests under way that there may be on top of what writes, or reads, may take alone.
_RESERVE: Final = 8

# Each API has its own default for these.
BaseUrl: TypeAlias = Annotated[
    str, msgspec.Meta(description="Where the {api} is.", extra_json_schema={"pattern": BASE_URL_PATTERN})
]
AnswerBytes: TypeAlias = Annotated[
    Count, described("The largest answer of the {api} that is read, in bytes after decompression.")
]


class Words(NamedTuple):
    """What an API and its parts are called in the descriptions.

    Attributes:
        api: Its name.
        item: What it allocates.
        version_header: The header that names its version.
    """

    api: str
    item: str
    version_header: str


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that every API has. Each of them has a class of its own, with its words and its defaults."""

    WORDS: ClassVar[Words]

    base_url: BaseUrl
    api_key: Annotated[Secret, described("The key of the {api}.")] = Secret("")
    api_key_file: Annotated[
        Path | None,
        described(
            "A file that holds the key of the {api}, instead of `{prefix}_API_KEY`. A key that is replaced in it is "
            "used without a restart."
        ),
    ] = None
    api_version: Annotated[
        str,
        msgspec.Meta(
            description="The value of the header `{version_header}`.", extra_json_schema={"pattern": HEADER_PATTERN}
        ),
    ] = "1.1"
    timeout: Annotated[
        PositiveSeconds,
        described("Seconds that one request to the {api} may take, even if its caller has gone."),
    ] = 30.0
    connect_timeout: Annotated[PositiveSeconds, described("Seconds that connecting to the {api} may take.")] = 5.0
    max_connections: Annotated[
        Count,
        described("Connections to the {api} at once. Further requests wait for one, within their deadline."),
    ] = 512
    max_answer_bytes: AnswerBytes
    routes: Annotated[
        dict[str, str],
        described(
            "Which documented spelling of an operation to use, where there are several, as `Operation=variant`. "
            "In the environment: separated by commas."
        ),
    ] = {}
    disabled_operations: Annotated[
        tuple[str, ...],
        described(
            "Operations that are switched off, by the name of their rpc. In the environment: separated by commas."
        ),
    ] = ()
    max_in_flight: Annotated[
        Limit,
        described(
            "Writes to the {api} under way at once, and as many reads; both together an eighth more. "
            "0: as many as `{prefix}_MAX_CONNECTIONS` allows."
        ),
    ] = 0
    max_queue: Annotated[Limit, described("Writes, and also reads, that may wait for their turn with the {api}.")] = 256
    queue_time: Annotated[
        Seconds, described("Seconds that one of them may wait. What would wait longer is refused at once.")
    ] = 0.5
    stream_share: Annotated[
        Ratio,
        described(
            "The part of `{prefix}_MAX_IN_FLIGHT` that allocation streams and watches may take, of writes and of reads."
        ),
    ] = 0.5
    rate_limit: Annotated[PerSecond, described("Requests to the {api} in a second. 0: no limit.")] = 0.0
    rate_burst: Annotated[
        Count, described("Requests that may be sent at once within `{prefix}_RATE_LIMIT`, after a pause.")
    ] = 10
    breaker_window: Annotated[
        PositiveSeconds, described("Seconds in which failures of the {api} are counted, to leave it alone.")
    ] = 10.0
    breaker_min_calls: Annotated[
        Count, described("Requests that there must have been in that time before the breaker can open.")
    ] = 20
    breaker_failure_ratio: Annotated[
        Ratio, described("The part of them that must have failed for the breaker to open.")
    ] = 0.5
    breaker_open_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds that the breaker stays open, and a little more at random. Each time that upstream still fails "
            "doubles it, up to eight times."
        ),
    ] = 5.0
    breaker_probes: Annotated[
        Count,
        described("Requests at once that try the {api} after that. As many answers close the breaker."),
    ] = 3
    retry_budget_ratio: Annotated[
        Ratio, described("Writes that may be sent once more, as a part of the writes that were asked for.")
    ] = 0.1
    retry_budget_burst: Annotated[
        Limit, described("Writes that may be sent once more besides, in a row. 0: no write is.")
    ] = 10
    max_attempts: Annotated[
        Count,
        described(
            "How often a request to the {api} is sent at most that certainly had no effect, such as one that was "
            "throttled, within its deadline."
        ),
    ] = 3
    settle_time: Annotated[
        PositiveSeconds,
        described(
            "Seconds after which a write that was sent to the {api} and not answered can take effect no more. "
            "Nothing is sent again before. At least `{prefix}_TIMEOUT`."
        ),
    ] = 30.0
    settle_times: Annotated[
        dict[str, PositiveSeconds],
        described("The same for single operations, as `Operation=seconds`. In the environment: separated by commas."),
    ] = {}
    read_before_write: Annotated[
        bool,
        described(
            "Read each {item} before a write is sent, so that what was there before is known when an answer is "
            "lost. It costs a request, and a step of the store, for each allocation and de-allocation."
        ),
    ] = False

    @property
    def is_configured(self) -> bool:
        """Whether it has a key, or a file with one."""
        return bool(self.api_key) or self.api_key_file is not None

    @property
    def places(self) -> tuple[int, int]:
        """How many writes (and as many reads) may be under way at once, and how many of both together.

        The difference keeps each of them from shutting the other out. Every one of them finds a free connection.
        """
        if self.max_in_flight:
            return self.max_in_flight, self.max_in_flight + max(self.max_in_flight // _RESERVE, 1)
        return self.max_connections - self.max_connections // (_RESERVE + 1), self.max_connections


class ShipSettings(ApiSettings, frozen=True, kw_only=True):
    """The settings of the Ship API."""

    WORDS: ClassVar = Words("Ship API", "shipment", "x-api-version")

    base_url: BaseUrl = "https://api.sorted.com/pro"
    max_answer_bytes: AnswerBytes = 4_194_304
    capabilities_shape: Annotated[
        Literal["array", "object"],
        described("Whether `capabilities` is sent as a JSON array or as one object."),
    ] = "array"


class ConsignmentsSettings(ApiSettings, frozen=True, kw_only=True):
    """The settings of the Consignments API."""

    WORDS: ClassVar = Words("Consignments API", "consignment", "electio-api-version")

    base_url: BaseUrl = "https://api.electioapp.com"
    max_answer_bytes: AnswerBytes = 16_777_216
    routes: Annotated[
        dict[str, str],
        described("As `SHIP_ROUTES`. No operation of the {api} has several spellings so far."),
    ] = {}
    max_references: Annotated[
        Count, described("How many consignments a bulk call may name. Upstream documents no limit of its own.")
    ] = 100

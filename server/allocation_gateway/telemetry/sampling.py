"""Head sampling: whether a call that belongs to no trace begins one, decided before any span is made.

Most calls of a gateway that samples a share of its traces are not sampled. Each of them would still cost a span object
if the decision were left to the SDK.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from allocation_gateway.telemetry.conventions import rpc_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler

# The description of a sampler that keeps a share of the traces that begin here, or all of them.
_ROOT: Final = re.compile(r"(?:ParentBased\{root:)?(?:TraceIdRatioBased\{([^}]+)\}|AlwaysOnSampler)")
# Of one that keeps what is within a span that it has kept. Those by the id of the trace decide as they did before.
_CHILDREN: Final = re.compile(
    r"ParentBased\{.*\blocalParentSampled:AlwaysOnSampler\b|TraceIdRatioBased\{|AlwaysOnSampler$"
)


class KnownSampling:
    """What is known of a sampler by its description, so that it need not be asked: each answer of it is an object.

    Attributes:
        root_bound: What the lower half of the id of each trace is below that begins here and is kept; None if the
            sampler has to be asked.
        keeps_children: Whether each span is kept that is within one of this process that is kept.
    """

    __slots__ = ("keeps_children", "root_bound")

    def __init__(self, sampler: Sampler) -> None:
        description = sampler.get_description()
        root = _ROOT.match(description)
        share = float(root[1] or 1.0) if root is not None else None
        self.root_bound = None if share is None else TraceIdRatioBased.get_bound_for_rate(share)
        self.keeps_children = _CHILDREN.match(description) is not None


class TraceIds(RandomIdGenerator):
    """Makes trace ids at random, except for a trace whose id the sampling decision was made for."""

    def __init__(self) -> None:
        self._reserved: int | None = None

    def reserve(self, trace_id: int) -> None:
        """Makes an id the one of the next trace."""
        self._reserved = trace_id

    def generate_trace_id(self) -> int:
        """Returns the reserved id, or a new one."""
        reserved, self._reserved = self._reserved, None
        return super().generate_trace_id() if reserved is None else reserved


class RootSampling:
    """Decides about calls that belong to no trace as the SDK would once their span is made."""

    def __init__(self, sampler: Sampler, trace_ids: TraceIds) -> None:
        self._sampler = sampler
        self._trace_ids = trace_ids
        self._bound = KnownSampling(sampler).root_bound

    def begins_trace(self, method: str) -> bool:
        """Returns whether a call of an rpc begins a trace. If so, its span must be made next."""
        trace_id = RandomIdGenerator.generate_trace_id(self._trace_ids)
        if self._bound is None:
            result = self._sampler.should_sample(None, trace_id, method, SpanKind.SERVER, rpc_attributes(method))
            if result.decision is Decision.DROP:
                return False
        elif trace_id & TraceIdRatioBased.TRACE_ID_LIMIT >= self._bound:
            return False
        self._trace_ids.reserve(trace_id)
        return True


def root_sampling(provider: TracerProvider) -> Callable[[str], bool]:
    """Returns what decides by its rpc whether a call that belongs to no trace begins one.

    The decision is left to the SDK if the provider makes trace ids that cannot be known beforehand.
    """
    trace_ids = provider.id_generator
    if isinstance(trace_ids, TraceIds):
        return RootSampling(provider.sampler, trace_ids).begins_trace
    return lambda _method: True

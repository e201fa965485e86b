"""The errors for a text that stands for no service group, or for several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway import errors
from allocation_gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from allocation_gateway.errors import WriteEffect
    from allocation_gateway.groups.model import Group

_FIELD = "service_group"
_KIND = "ServiceGroup"


def unknown(text: str, close: Sequence[Group], effect: WriteEffect | None) -> GatewayError:
    """Returns the error for a text that stands for nothing, with what is spelt alike."""
    suggestion = f" Did you mean {' or '.join(_shown(group) for group in close)}?" if close else ""
    return GatewayError(
        StatusCode.NOT_FOUND,
        ErrorReason.ERROR_REASON_SERVICE_GROUP_NOT_FOUND,
        f"The gateway knows no service group of this code or name.{suggestion}",
        effect=effect,
        details=[errors.resource(_KIND, text, f"The gateway does not know it.{suggestion}")],
    )


def ambiguous(candidates: Iterable[Group], effect: WriteEffect | None) -> GatewayError:
    """Returns the error for a name that stands for several groups, with all of them."""
    found = sorted(candidates, key=lambda group: (group.api.value, group.code))
    return GatewayError(
        StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_SERVICE_GROUP_AMBIGUOUS,
        f"The name stands for {len(found)} service groups: use the code of one of them.",
        effect=effect,
        details=[errors.bad_request((_FIELD, f"may be {_shown(group)} of {group.api.value}") for group in found)],
    )


def _shown(group: Group) -> str:
    name = f" ({group.display_name})" if group.display_name else ""
    return f'"{group.code}"{name}'

"""The answers of ServiceGroupService."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Final

import msgspec
from allocation.v1 import service_group_service_pb2 as pb
from allocation.v1.error_reason_pb2 import ErrorReason
from grpc import StatusCode

from allocation_gateway.errors import GatewayError
from allocation_gateway.groups.model import Source
from allocation_gateway.operations.model import Api
from allocation_gateway.operations.validation import MAX_PAGE
from allocation_gateway.rpc.base import invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from allocation_gateway.accounts.model import Account
    from allocation_gateway.groups.model import Group

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ServiceGroupService"].full_name
DEFAULT_PAGE: Final = 100
_APIS: Final[Mapping[pb.Api.ValueType, Api]] = {pb.API_SHIP: Api.SHIP, pb.API_CONSIGNMENTS: Api.CONSIGNMENTS}
_NUMBERS: Final = {api: number for number, api in _APIS.items()}
_SOURCES: Final = {
    Source.CATALOGUE: pb.SERVICE_GROUP_SOURCE_CATALOGUE,
    Source.LISTING: pb.SERVICE_GROUP_SOURCE_LISTING,
    Source.OBSERVED: pb.SERVICE_GROUP_SOURCE_OBSERVED,
}


class _Token(msgspec.Struct, array_like=True, frozen=True):
    """What a page token says: which list it is of, and the last group that was told."""

    of: int
    api: int
    code: str


async def _list(account: Account, request: pb.ListServiceGroupsRequest, seconds: float) -> pb.ListServiceGroupsResponse:
    after = _after(request)
    apis = _apis(account, request.api)
    await asyncio.gather(*(account.groups.directory.load_listing(api, seconds) for api in apis))
    found = {(_NUMBERS[group.api], group.code): group for group in account.groups.directory.known(apis)}
    keys = sorted(key for key in found if after is None or key > after)
    page = keys[: min(request.page_size, MAX_PAGE) or DEFAULT_PAGE]
    return pb.ListServiceGroupsResponse(
        service_groups=[_message(account.name, found[key]) for key in page],
        next_page_token=_token(request, page[-1]) if len(page) < len(keys) else "",
    )


async def _get(account: Account, request: pb.GetServiceGroupRequest, seconds: float) -> pb.GetServiceGroupResponse:
    apis = _apis(account, request.api)
    await asyncio.gather(*(account.groups.directory.load_listing(api, seconds) for api in apis))
    found = account.groups.resolver.find(apis, request.service_group)
    return pb.GetServiceGroupResponse(service_group=_message(account.name, found))


async def _refresh(
    account: Account, request: pb.RefreshServiceGroupsRequest, seconds: float
) -> pb.RefreshServiceGroupsResponse:
    if not account.settings.service_group_refresh:
        raise GatewayError(
            StatusCode.PERMISSION_DENIED,
            ErrorReason.ERROR_REASON_REFRESH_NOT_ALLOWED,
            "Refreshing service groups is not switched on in this gateway.",
        )
    count = await account.groups.refresh(_apis(account, request.api), seconds)
    return pb.RefreshServiceGroupsResponse(service_group_count=count)


ANSWERS: Final[Mapping[type[Message], Callable[[Account, Any, float], Awaitable[Message]]]] = {
    pb.ListServiceGroupsRequest: _list,
    pb.GetServiceGroupRequest: _get,
    pb.RefreshServiceGroupsRequest: _refresh,
}


def _apis(account: Account, api: pb.Api.ValueType) -> tuple[Api, ...]:
    """Returns the API that a request names; all that are configured if it names none."""
    return (_APIS[api],) if api else tuple(account.apis)


def _message(account: str, group: Group) -> pb.ServiceGroup:
    message = pb.ServiceGroup(
        code=group.code,
        display_name=group.display_name,
        aliases=group.aliases,
        api=_NUMBERS[group.api],
        account=account,
        source=_SOURCES[group.source],
    )
    _set(message.learned_at, group.learned_at)
    if group.trusted_until is not None:
        _set(message.trusted_until, group.trusted_until)
    return message


def _set(timestamp: Timestamp, seconds: float) -> None:
    timestamp.FromMicroseconds(int(seconds * 1_000_000))


def _token(request: pb.ListServiceGroupsRequest, last: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(request.api, *last))).decode()


def _after(request: pb.ListServiceGroupsRequest) -> tuple[int, str] | None:
    """Returns the last group of the page before; None for the first page."""
    if not request.page_token:
        return None
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(request.page_token), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        token = None
    if token is None or token.of != request.api:
        raise invalid("The request is not valid.", [("page_token", "is not the token of a page of this list")])
    return token.api, token.code

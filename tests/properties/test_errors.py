"""Whatever an error holds, it fits into the trailers of a call, and what is cut says how much."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Final

import grpc
from allocation.v1 import core_pb2, error_reason_pb2
from allocation_gateway import errors
from allocation_gateway.errors import GatewayError
from google.rpc import error_details_pb2, status_pb2
from hypothesis import example, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from google.protobuf.message import Message

LIMIT: Final = 6_000
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) - {0x25}
_SPANS: Final = (
    st.characters(max_codepoint=0x7E, min_codepoint=0x20),
    st.characters(codec="utf-8"),
    st.sampled_from("\0é€🚚%\n"),
)


@st.composite
def texts(draw: st.DrawFn, longest: int = 2_000) -> str:
    """Texts of every length: a short one that hypothesis makes up, repeated."""
    seed: str = draw(st.one_of(*(st.text(alphabet, max_size=12) for alphabet in _SPANS)))
    return (seed * draw(st.integers(1, 400)))[: draw(st.integers(0, longest))]


def carriers() -> st.SearchStrategy[core_pb2.Carrier]:
    return st.builds(
        core_pb2.Carrier,
        reference=texts(),
        name=texts(),
        service_reference=texts(),
        service_name=texts(),
        tags=st.lists(texts(100), max_size=3),
    )


def many(items: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Any]]:
    """Lists of every length: a few items, repeated."""
    return st.builds(lambda some, times: (some * times)[:most], st.lists(items, max_size=4), st.integers(1, most))


def excluded() -> st.SearchStrategy[core_pb2.ExcludedService]:
    exclusion = st.builds(
        core_pb2.Exclusion,
        reason=texts(),
        code=st.sampled_from(core_pb2.ExclusionCode.values()),
        code_text=texts(),
    )
    return st.builds(core_pb2.ExcludedService, carrier=st.none() | carriers(), exclusion=st.none() | exclusion)


def links() -> st.SearchStrategy[core_pb2.Link]:
    return st.builds(core_pb2.Link, href=texts(), rel=texts(50), reference=texts(50), type=texts(50))


def money() -> st.SearchStrategy[Any]:
    return st.builds(dict, currency_code=texts(), units=st.integers(-(2**63), 2**63 - 1), nanos=st.just(5))


def allocations() -> st.SearchStrategy[core_pb2.Allocation]:
    tax: st.SearchStrategy[Any] = st.builds(
        dict, rate=st.builds(core_pb2.TaxRate, reference=texts(), type=texts()), amount=money()
    )
    tracking = st.builds(
        core_pb2.TrackingReference, reference=texts(), tracking_references=many(texts(), 200), links=many(links(), 20)
    )
    return st.builds(
        core_pb2.Allocation,
        shipment_reference=texts(255),
        state=st.sampled_from(core_pb2.ShipmentState.values()),
        state_text=texts(),
        price=st.none() | st.builds(dict, net=money(), gross=money(), taxes=many(tax, 50)),
        carrier=st.none() | carriers(),
        tracking_details=st.none() | st.builds(dict, shipment=tracking, contents=many(tracking, 10)),
        excluded_services=many(excluded(), 30),
        shipping_date=st.none() | st.just({"start": {"seconds": 253_402_300_799, "nanos": 999_999_999}}),
        links=many(links(), 100),
        correlation_id=texts(),
        message=texts(),
        details=many(st.builds(core_pb2.UpstreamError, code=texts(), message=texts(), links=many(links(), 5)), 20),
        paperless_documents=st.none() | st.builds(core_pb2.PaperlessDocuments, usage_type_text=texts(5_000)),
        applicable_documents=many(st.builds(core_pb2.ApplicableDocument, type=texts()), 50),
    )


def metadata() -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "upstream_status": st.integers(100, 999).map(str),
            "upstream_code": texts(),
            "upstream_correlation_id": texts(),
            "effect": st.sampled_from(["none", "made", "unknown"]),
        },
    )


def made(**more: Any) -> GatewayError:
    """Returns an error that has nothing special about it but what is given."""
    wanted: dict[str, Any] = {
        "code": grpc.StatusCode.INTERNAL,
        "reason": error_reason_pb2.ErrorReason.ERROR_REASON_UPSTREAM_CONTRACT_BROKEN,
        "message": "It failed.",
        **more,
    }
    return GatewayError(wanted.pop("code"), wanted.pop("reason"), wanted.pop("message"), **wanted)


def size(status: status_pb2.Status) -> int:
    """Returns the size of the trailers as HTTP/2 counts a list of headers: names, values, and 32 bytes for each."""
    message = "".join(chr(byte) if byte in _PRINTABLE else f"%{byte:02X}" for byte in status.message.encode())
    details = base64.b64encode(status.SerializeToString())
    trailers = {"grpc-status": "13", "grpc-message": message, "grpc-status-details-bin": details}
    return sum(len(name) + len(value) + 32 for name, value in trailers.items())


def details(status: status_pb2.Status, kind: type[Message]) -> list[Any]:
    """Returns the details of a type."""
    found = []
    for packed in status.details:
        if packed.TypeName() == kind.DESCRIPTOR.full_name:
            detail = kind()
            packed.Unpack(detail)
            found.append(detail)
    return found


def one(status: status_pb2.Status, kind: type[Message]) -> Any:
    """Returns the only detail of a type."""
    (found,) = details(status, kind)
    return found


def check_cut(text: str, whole: str) -> None:
    """Checks that a text is whole, or its beginning with the number of characters that are missing."""
    if text != whole:
        match = re.fullmatch(r"(.*)\.\.\. \((\d+) more characters\)", text, re.DOTALL)
        assert match is not None
        assert whole.startswith(match[1])
        assert len(match[1]) + int(match[2]) == len(whole)


def check(error: GatewayError, message: str) -> status_pb2.Status:
    """Checks what holds for every error, and returns its status."""
    status = error.status()
    assert size(status) < LIMIT
    assert size(status) - 3 * 32 <= errors.wire_size(status) <= LIMIT
    assert status.code == error.code.value[0]
    check_cut(status.message, message)
    info = one(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (error.reason_name, "allocation.v1")
    assert set(info.metadata) == set(error.metadata)
    for key, value in error.metadata.items():
        check_cut(info.metadata[key], value)
    return status


@given(
    code=st.sampled_from([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]),
    reason=st.sampled_from(error_reason_pb2.ErrorReason.values()),
    message=texts(),
    metadata=metadata(),
    name=texts(),
    seconds=st.floats(0, 3600),
)
@example(grpc.StatusCode.NOT_FOUND, error_reason_pb2.ErrorReason.ERROR_REASON_UNSPECIFIED, "🚚" * 400, {}, "é" * 255, 1)
def test_an_error_always_has_its_reason_and_its_small_details(
    code: grpc.StatusCode,
    reason: error_reason_pb2.ErrorReason.ValueType,
    message: str,
    metadata: dict[str, str],
    name: str,
    seconds: float,
) -> None:
    """However long its texts are, and however many bytes their characters take."""
    small = [errors.resource("Shipment", name), errors.retry_after(seconds)]

    status = check(made(code=code, reason=reason, message=message, metadata=metadata, details=small), message)

    check_cut(one(status, error_details_pb2.ResourceInfo).resource_name, name)
    assert one(status, error_details_pb2.RetryInfo) == small[1]


@given(violations=many(st.tuples(texts(), texts()), 400), message=texts(), metadata=metadata())
def test_violations_that_are_left_out_are_counted(
    violations: list[tuple[str, str]], message: str, metadata: dict[str, str]
) -> None:
    """The first ones come, in their order, and a last one says how many more there are."""
    error = made(message=message, metadata=metadata, details=[errors.bad_request(violations)])

    told = list(one(check(error, message), error_details_pb2.BadRequest).field_violations)

    if len(told) != len(violations):
        last = told.pop()
        assert not last.field
        assert last.description == f"{len(violations) - len(told)} more are left out"
    for item, (field, description) in zip(told, violations, strict=False):
        check_cut(item.field, field)
        check_cut(item.description, description)


@given(length=st.integers(0, 200), count=st.integers(1, 60))
def test_violations_are_counted_at_every_size(length: int, count: int) -> None:
    """Also where those that are kept fit, and the line that counts the others would not."""
    error = made(details=[errors.bad_request([("a" * length, "b")] * count)])

    told = list(one(check(error, "It failed."), error_details_pb2.BadRequest).field_violations)

    assert len(told) == count or told[-1].description == f"{count - len(told) + 1} more are left out"


@given(services=many(excluded(), 300), message=texts(), metadata=metadata())
def test_excluded_services_that_are_left_out_are_counted(
    services: list[core_pb2.ExcludedService], message: str, metadata: dict[str, str]
) -> None:
    """Those that are told and those that are counted are all of them."""
    status = check(made(message=message, metadata=metadata, excluded=services), message)

    if not services:
        assert not details(status, error_reason_pb2.ExcludedServices)
        return
    told = one(status, error_reason_pb2.ExcludedServices)
    assert len(told.excluded_services) + told.omitted_count == len(services)
    for item, service in zip(told.excluded_services, services, strict=False):
        assert item.HasField("carrier") == service.HasField("carrier")
        assert item.HasField("exclusion") == service.HasField("exclusion")
        assert item.exclusion.code == service.exclusion.code
        check_cut(item.exclusion.reason, service.exclusion.reason)
        check_cut(item.exclusion.code_text, service.exclusion.code_text)
        for field in ("reference", "name", "service_reference", "service_name"):
            check_cut(getattr(item.carrier, field), getattr(service.carrier, field))


@given(allocation=allocations(), message=texts(), metadata=metadata())
def test_an_allocation_that_was_made_is_always_told(
    allocation: core_pb2.Allocation, message: str, metadata: dict[str, str]
) -> None:
    """Its parts are whole or left out by name; its excluded services are a number."""
    before = allocation.SerializeToString(deterministic=True)

    status = check(made(message=message, metadata=metadata, allocation=allocation), message)

    assert allocation.SerializeToString(deterministic=True) == before, "the original stays as it is"
    told = one(status, core_pb2.Allocation)
    cut = re.fullmatch(r"Left out, since it is too long: (.*)\.", told.message)
    left_out = set(cut[1].split(", ")) if cut is not None and told.message != allocation.message else set()
    for descriptor in allocation.DESCRIPTOR.fields:
        field = descriptor.name
        if field in left_out:
            assert getattr(allocation, field), f"{field} is not left out: there is none"
        elif field not in {"excluded_services", "message"}:
            assert getattr(told, field) == getattr(allocation, field)
    if not left_out:
        assert told.message == allocation.message
    assert not {"shipment_reference", "state", "shipping_date"} & left_out
    assert not told.excluded_services
    omitted = details(status, error_reason_pb2.ExcludedServices)
    assert sum(item.omitted_count for item in omitted) == len(allocation.excluded_services)


@given(text=texts(), limit=st.integers(0, 300))
def test_a_text_is_cut_to_bytes_and_says_how_many_characters_are_missing(text: str, limit: int) -> None:
    """A character that takes four bytes counts as four."""
    cut = errors.clip(text, limit)

    check_cut(cut, text)
    assert len(cut.encode()) <= limit + len(f"... ({len(text)} more characters)")
    assert cut == text or len(text.encode()) > limit

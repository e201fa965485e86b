"""How the Consignments API is spoken to, and how it says that something is wrong.

No list of its error codes is published. Its SDK suggests that codes are the names of exception classes: those that
would matter are known here, and for all others the HTTP status decides. The API management in front of it has a shape
of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from allocation_gateway.upstream import verdicts
from allocation_gateway.upstream.dialect import Complaint, Dialect, ErrorBody, objects, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.codecs.json import Object
    from allocation_gateway.settings import ApiSettings
    from allocation_gateway.upstream.verdicts import Verdict

BY_CODE: Final[Mapping[str, Verdict]] = {
    "ServiceGroupNotFoundException": verdicts.NO_GROUP,
    "CarrierServiceGroupNotFoundForCustomerException": verdicts.NO_GROUP,
    "MpdCarrierServiceNotFoundException": verdicts.NO_SERVICE,
    "ServiceProfileNotFoundException": verdicts.NO_SERVICE,
    "InvalidApiKeyException": verdicts.CREDENTIALS,
}


def headers(api: ApiSettings, key: str) -> list[tuple[str, str]]:
    """Returns the headers that every request needs."""
    return [
        ("ocp-apim-subscription-key", key),
        ("electio-api-version", api.api_version),
        ("content-type", "application/json"),
    ]


def error_body(source: Object) -> ErrorBody:
    """Reads an ApiError, or what the API management says: `{"statusCode": 401, "message": ...}`."""
    complaints = [
        Complaint(text(item, "Code"), text(item, "Target"), text(item, "Message"))
        for item in objects(source.get("Details"))
    ]
    own = text(source, "Code")
    correlation_id = text(source, "CorrelationId")
    said = text(source, "Message")
    if not complaints and (message := said or text(source, "message")):
        complaints = [Complaint(own, "", message)]
    # What the API management says by itself begins with small letters.
    is_own = bool(own or correlation_id or said)
    return ErrorBody(code=own, complaints=complaints, correlation_id=correlation_id, is_own=is_own)


DIALECT: Final = Dialect(headers=headers, error_body=error_body, by_code=BY_CODE, probe="/consignments/EC-000-000-000")

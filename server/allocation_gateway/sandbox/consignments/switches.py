"""The switches of the Consignments API: one for each point where its sources disagree or are silent.

The first value of each is the default. Why each exists, and which source says what, is in docs/sandbox-consignments.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]


class ConsignmentsSwitches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choices of one moment."""

    # Allocating, one or many.
    allocate_answer: Literal[200, "accepted", "accepted_empty", "deferred", "deferred_empty"] = 200
    single_answer: Literal["array", "object"] = "array"
    single_failure: Literal["error", "item"] = "error"
    summary: Literal["allocation_summary", "with_message"] = "allocation_summary"
    guard: bool = True
    allocate_ready_to_ship: bool = False
    filters: Literal["include", "only"] = "include"
    # Allocating many.
    bulk_failures: Literal["status_code", "omitted", "with_message"] = "status_code"
    bulk_bad_reference: Literal["item", "refuses_call", "ends_call"] = "item"
    bulk_all_failed: Literal["items", "error"] = "items"
    bulk_order: Literal["request", "reversed"] = "request"
    batch_limit: Count = 0
    duplicates: Literal["each", "once", "refused"] = "each"
    empty_list: Literal["refused", "empty_answer"] = "refused"
    # What tells a caller which consignment an item is about.
    detail_links: Literal["present", "absent"] = "present"
    description: Literal["with_reference", "without_reference"] = "with_reference"
    message_data: Literal["reference", "null"] = "reference"
    # What does not exist or cannot be used.
    reference_case: Literal["exact", "any"] = "exact"
    unknown_consignment: Literal[400, 404] = 400
    wrong_state: Literal[400, 404, 409] = 400
    unknown_group: Literal[400, 404] = 400
    unknown_service: Literal[400, 404] = 400
    unknown_quote: Literal[400, 404] = 400
    unusable_quote: Literal[400, 404, 410] = 400
    malformed_quote: Literal["invalid", "unknown"] = "invalid"
    unbound_quote: Literal["usable", "unusable"] = "usable"
    error_codes: Literal["exception", "plain", "sample"] = "exception"
    # Labels with an allocation, and labels alone.
    label_failure: Literal["none", "item", "error"] = "none"
    labels: Literal["available", "missing"] = "available"
    # Undoing.
    deallocate_answer: Literal[200, 202] = 200
    change_failure_text: Literal["reason", "general", "null"] = "reason"
    deallocate_ready_to_ship: bool = False
    cancel_once_manifested: bool = True
    cancel_delivery_failed: bool = True
    # Quotes and groups.
    quotes_status: Literal[201, 200] = 201
    quote_expiry: Literal["cutoff", "day_start", "seconds"] = "cutoff"
    quote_source: Literal["integer", "string"] = "integer"
    earlier_quotes: Literal["offered", "not_offered"] = "offered"
    service_groups: Literal["allowed", 401, 403, 404] = "allowed"
    group_available: Literal["free", "exists"] = "free"
    # The gateway in front of the service.
    access_error: Literal["apim", "api_error"] = "apim"
    missing_version: Literal["1.1", "1", "refused"] = "1.1"
    rate_limit: Count = 0
    rate_limit_seconds: Annotated[int, msgspec.Meta(ge=1)] = 10
    rate_limit_scope: Literal["all", "allocate_only"] = "all"
    gzip: Literal["gzip", "gzipped", "never"] = "gzip"
    # The dialect of every answer.
    allocation_date: Literal["AllocationDate", "AllocateDate"] = "AllocationDate"
    tax_amount: Literal["VatAmount", "TaxAmount"] = "VatAmount"
    tax_rate: Literal["TaxRate", "VatRate"] = "TaxRate"
    label_content_type: Literal["ContentType", "Content-Type"] = "ContentType"
    nulls: Literal["present", "omitted"] = "present"
    extra_fields: bool = False
    unknown_enums: bool = False
    byte_order_mark: bool = False

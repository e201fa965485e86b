"""Ship's switches: one for each point where its sources disagree or are silent.

The first value of each is the default. Why each exists, and which source says what, is in docs/sandbox.md.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ShipSwitches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choices of one moment."""

    # Allocating one shipment.
    single_answer: Literal[200, 202, "deferred"] = 200
    guard: bool = True
    retry_failed: bool = True
    failure_body: Literal["api_error_with_excluded", "api_error", "allocate_result"] = "api_error_with_excluded"
    failure_parent: Literal["allocation_failed", "validation_error", "child"] = "allocation_failed"
    dates: bool = False
    excluded_carrier: Literal["swapped", "straight"] = "swapped"
    # Allocating many.
    bulk_paths: Literal["both", "allocate", "allocation"] = "both"
    bulk_partial_status: Literal[202, 207, 407] = 202
    bulk_all_rejected_status: Literal[202, 207, 407, 404, 521] = 202
    bulk_all_rejected_body: Literal["bulk", "api_error"] = "bulk"
    bulk_body: Literal["object", "array", "array_allocated"] = "object"
    bulk_allocating: Literal["when_queued", "when_processed"] = "when_queued"
    capabilities: Literal["both", "object", "array"] = "both"
    # What does not exist.
    reference_case: Literal["exact", "any"] = "exact"
    unknown_shipment: Literal[404, 521] = 404
    unknown_service: Literal[521, 404] = 521
    unknown_group: Literal[404, 521] = 404
    unknown_virtual: Literal[400, 404] = 400
    malformed_reference: Literal["invalid_reference_format", "not_found"] = "invalid_reference_format"
    # Quotes.
    quote_method: Literal["both", "post", "get"] = "both"
    quote_expiry: Literal["end_of_day", "seconds"] = "end_of_day"
    no_quotes_body: Literal["api_error_with_excluded", "api_error", "quote_result"] = "api_error_with_excluded"
    unusable_quote: Literal[521, 400, 404] = 521
    surcharges: Literal["none", "boolean_base", "named_base"] = "none"
    # Reading and undoing.
    deallocate: Literal["offered", "not_offered"] = "offered"
    paperless_documents: Literal["empty", "array", "object"] = "empty"
    allocation_tracking: Literal["tracking_details", "tracking_references"] = "tracking_details"
    get_while_allocating: Literal["shipment", "processing"] = "shipment"
    # The dialect of every answer.
    validation_parent: Literal["validation_error", "invalid_request"] = "validation_error"
    version_error_parent: Literal["validation_error", "own"] = "validation_error"
    state_case: Literal["lower", "title", "pascal"] = "lower"
    nulls: Literal["omitted", "present"] = "omitted"
    extra_fields: bool = False
    unknown_enums: bool = False
    byte_order_mark: bool = False
    gzip_label: Literal["gzip", "gzipped"] = "gzip"

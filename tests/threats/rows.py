"""What the rows of the threat table of SECURITY.md rest on: the defence, and the tests that fail without it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """A row, or a part of one.

    Attributes:
        defence: The name of what is taken out; see threats.defences.
        fail: The tests that fail then, from the folder of the tests on. Of one that names no case, some case fails.
        pass_: One that passes all the same: nothing else was taken out.
    """

    defence: str
    fail: tuple[str, ...]
    pass_: str


_TOKENS: Final = "callers/test_tokens.py::"
_REFUSED: Final = f"{_TOKENS}test_call_without_a_valid_identity_is_refused_in_constant_shape"
_VALID: Final = f"{_TOKENS}test_call_with_a_valid_token_is_answered[plain-rsa]"
_CERTIFICATES: Final = "callers/test_certificates.py::"
_POLICY: Final = "callers/test_policy.py::"
_CHOOSING: Final = "accounts/test_choosing.py::"
_ROTATION: Final = "process/test_key_rotation.py::"
_KEYS: Final = "callers/test_keys.py::"
_READER: Final = f"{_CERTIFICATES}test_certificate_says_who_calls[direct-spiffe]"

# By the first cell of the row.
ROWS: Final[dict[str, tuple[Row, ...]]] = {
    "calls by whoever reaches the port": (
        Row(
            "identity",
            (f"{_REFUSED}[nothing]", f"{_TOKENS}test_health_stays_open_and_reflection_does_not"),
            _VALID,
        ),
    ),
    "a forged token: unsigned, HMAC with the public key, another algorithm": (
        Row(
            "pinned_algorithms",
            (
                f"{_REFUSED}[no signature]",
                f"{_REFUSED}[HMAC with the public key]",
                f"{_REFUSED}[another algorithm]",
                f"{_KEYS}test_keys_that_cannot_be_used_are_left_out[HMAC by an RSA key]",
                f"{_KEYS}test_keys_that_cannot_be_used_are_left_out[none]",
            ),
            _VALID,
        ),
    ),
    "a key of one kind used with the algorithm of another, Ed25519 among them": (
        Row(
            "pinned_algorithms",
            (
                f"{_REFUSED}[the name of the same]",
                f"{_KEYS}test_each_key_has_one_algorithm[False-ec]",
                f"{_KEYS}test_keys_that_cannot_be_used_are_left_out[ES256 by Ed25519]",
            ),
            f"{_KEYS}test_each_key_has_one_algorithm[True-ec]",
        ),
    ),
    "a token for somebody else, of somebody else, or of another time": (
        Row(
            "claims_of_tokens",
            tuple(
                f"{_REFUSED}[{case}]"
                for case in ("another audience", "another issuer", "expired", "never expires", "not valid yet")
            ),
            f"{_REFUSED}[no signature]",
        ),
    ),
    "a token that outlives its time, or its key, by being remembered": (
        Row(
            "end_of_remembering",
            (
                f"{_TOKENS}test_remembered_token_counts_until_it_expires",
                f"{_TOKENS}test_keys_are_replaced_in_their_file_without_a_restart",
            ),
            _VALID,
        ),
    ),
    "tokens of made-up keys, to wear out the issuer or the gateway": (
        Row(
            "bounds_of_keys_and_tokens",
            (
                f"{_TOKENS}test_keys_from_a_url_are_found_at_once_and_not_asked_for_by_everybody",
                f"{_TOKENS}test_few_calls_wait_for_keys",
                f"{_TOKENS}test_few_tokens_are_remembered",
            ),
            _VALID,
        ),
    ),
    "keys of tokens that are replaced on their way": (
        Row(
            "tls_of_keys",
            (f"{_CERTIFICATES}test_keys_are_not_taken_unencrypted",),
            f"{_KEYS}test_set_that_is_too_large_is_refused",
        ),
    ),
    "a refusal that helps to guess what is wrong": (
        Row("constant_shape", (f"{_REFUSED}[expired]", f"{_REFUSED}[unknown key]"), _VALID),
    ),
    "a certificate with several identities": (
        Row(
            "one_identity", (f"{_CERTIFICATES}test_certificate_that_names_nobody_is_refused[direct-two ids]",), _READER
        ),
    ),
    "a bad token on the connection of a trusted proxy": (
        Row(
            "tokens_before_certificates",
            (f"{_CERTIFICATES}test_token_says_who_calls_where_there_is_one[direct]",),
            _READER,
        ),
    ),
    "a caller that does more than it should": (
        Row(
            "rules",
            tuple(
                f"{_POLICY}test_callers_may_do_what_their_rule_says_and_nothing_else[{case}]"
                for case in ("single-reporting:jobs", "read-nobody", "refresh-nobody")
            ),
            f"{_POLICY}test_callers_may_do_what_their_rule_says_and_nothing_else[read-platform]",
        ),
    ),
    "a pattern that reaches further than it seems to": (
        Row(
            "separators",
            (
                f"{_POLICY}test_patterns_reach_no_further_than_a_part",
                f"{_CERTIFICATES}test_certificate_of_somebody_else_is_not_allowed[direct-name2]",
            ),
            _READER,
        ),
    ),
    "service groups by another name, or by another rpc": (
        Row(
            "groups_of_rules",
            (
                f"{_POLICY}test_allocation_with_another_service_group_is_refused[Abroad]",
                f"{_POLICY}test_allocation_without_a_service_group_is_refused_where_the_rule_names_some[single]",
            ),
            f"{_POLICY}test_allocation_with_a_service_group_of_the_rule_is_made[NORTH]",
        ),
    ),
    "a caller that uses up what is there for others": (
        Row(
            "shares",
            (
                f"{_POLICY}test_caller_cannot_hold_more_calls_than_its_share",
                f"{_POLICY}test_caller_cannot_make_more_calls_in_a_second_than_its_share",
            ),
            f"{_POLICY}test_first_rule_for_a_caller_decides",
        ),
    ),
    "a bad edit of the policy or of the keys": (
        Row(
            "last_good_content",
            (
                f"{_POLICY}test_policy_is_followed_and_a_bad_edit_keeps_the_last_good_one",
                f"{_TOKENS}test_keys_are_replaced_in_their_file_without_a_restart",
            ),
            _VALID,
        ),
    ),
    "one account's shipments paid for by another, or its requests answered by what another did": (
        Row(
            "known_accounts",
            (
                f"{_CHOOSING}test_unknown_account_is_refused_and_nothing_is_sent[elsewhere-write]",
                f"{_CHOOSING}test_without_a_file_of_accounts_a_named_one_is_refused_and_not_passed_over",
            ),
            f"{_CHOOSING}test_caller_chooses_the_account_and_none_is_the_one_of_the_settings[north]",
        ),
        Row(
            "keys_of_accounts",
            (f"{_CHOOSING}test_an_account_never_takes_over_the_key_of_the_settings",),
            f"{_CHOOSING}test_caller_chooses_the_account_and_none_is_the_one_of_the_settings[north]",
        ),
        Row(
            "claims_of_accounts",
            (
                "properties/test_accounts.py::test_what_one_account_does_is_the_same_whatever_is_done_for_another",
                f"{_CHOOSING}test_the_same_id_and_shipment_are_another_write_in_another_account",
            ),
            f"{_CHOOSING}test_caller_chooses_the_account_and_none_is_the_one_of_the_settings[north]",
        ),
    ),
    "a caller that uses another account than it may": (
        Row(
            "accounts_of_rules",
            (
                f"{_CHOOSING}test_caller_uses_the_accounts_of_its_rule_alone[write-one-south]",
                f"{_CHOOSING}test_who_may_not_use_an_account_does_not_learn_whether_there_is_one",
            ),
            f"{_CHOOSING}test_caller_uses_the_accounts_of_its_rule_alone[write-one-north]",
        ),
    ),
    "nobody knows who did it": (
        Row(
            "audit",
            (
                f"{_TOKENS}test_log_lines_and_the_audit_line_of_a_write_name_the_caller",
                f"{_POLICY}test_callers_may_do_what_their_rule_says_and_nothing_else[read-nobody]",
            ),
            _VALID,
        ),
    ),
    "a key that has leaked goes on being used": (
        Row(
            "following",
            (
                "callers/test_rotation.py::test_everything_is_replaced_under_load[direct]",
                f"{_ROTATION}test_key_that_is_refused_is_looked_for_at_once_and_no_call_fails",
                "tls/test_listener.py::test_renewed_certificate_counts_for_the_next_connection",
            ),
            "tls/test_listener.py::test_mutual_tls_serves_only_clients_of_its_authority",
        ),
        Row(
            "following",
            (
                "claims/test_opening.py::test_a_password_in_a_file_is_replaced_without_a_restart",
                "claims/test_sentinel.py::test_password_of_sentinels_in_a_file_is_replaced_without_a_restart",
                "claims/test_rotation.py::test_passwords_of_store_and_cache_are_replaced_under_load[user]",
            ),
            "claims/test_sentinel.py::test_sentinels_and_servers_with_passwords_of_their_own",
        ),
    ),
    "a secret that can only stand in a variable, where whoever may describe a pod reads it": (
        Row(
            "files_of_secrets",
            ("invariants/test_secrets.py::test_each_secret_has_a_file_or_a_reason_why_not",),
            "invariants/test_secrets.py::test_no_setting_is_a_secret_without_being_marked_as_one",
        ),
    ),
    "keys in logs and answers": (
        Row(
            "redaction",
            (
                f"{_ROTATION}test_keys_before_are_taken_out_of_answers_too",
                "cli/test_server_urls.py::test_wrong_url_is_one_line_that_says_what_is_wrong",
                "secrecy/test_secrecy.py::test_settings_do_not_show_their_secrets",
                "secrecy/test_secrecy.py::test_commands_do_not_tell_secrets",
            ),
            "secrecy/test_secrecy.py::test_tokens_and_private_keys_are_recognised_wherever_they_stand[ES256]",
        ),
    ),
    "secrets that a store, a collector or a library quotes, or that are in the error of a defect or a crash": (
        Row(
            "quotations",
            ("claims/test_diagnosis.py::test_server_that_knows_no_auth_is_not_quoted_with_the_password",),
            "claims/test_opening.py::test_a_password_in_a_file_is_replaced_without_a_restart[]",
        ),
    ),
}
# Tests that the rows name and that are not run without a defence here, and why.
OTHERWISE: Final[dict[str, str]] = {
    "test_nothing_that_a_gateway_emits_has_a_secret": "the test beside it takes the defences out",
    "test_without_what_keeps_secrets_in_each_would_be_seen": "it takes the defences out itself",
    "test_the_image_for_production_holds_neither_the_sandbox_nor_an_installer": "the image for the sandbox holds both",
    "test_the_image_lists_what_it_is_made_of": "a list of parts is no defence that could be taken out",
    "test_one_module_of_the_server_names_the_sandbox": "what it refuses is an import of its own kind, not an attack",
}
# Rows whose tests are all among those, and so have nothing to be taken out.
WITHOUT: Final = ("weaknesses of what production does not need",)

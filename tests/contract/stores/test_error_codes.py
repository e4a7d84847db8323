"""Errors by their names, as ClickHouse itself numbers them: each means what the code takes it for."""

import pytest

from shards.errors import RowsRefused, SchemaMismatch, StoreBusy, StoreError, StoreFailed, StoreUnavailable
from shards.stores.base import Store
from shards.stores.error_codes import MESSAGE_MAX_CHARS, shorten, store_error
from shards.stores.error_names import public_form

MEANING: dict[type[StoreError], str] = {
    SchemaMismatch: "THERE_IS_NO_COLUMN NOT_FOUND_COLUMN_IN_BLOCK NO_SUCH_COLUMN_IN_TABLE"
    " NUMBER_OF_COLUMNS_DOESNT_MATCH ILLEGAL_COLUMN UNKNOWN_IDENTIFIER UNKNOWN_TABLE INCORRECT_QUERY"
    " UNKNOWN_DATABASE INCOMPATIBLE_COLUMNS TABLE_IS_DROPPED",
    RowsRefused: "CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE CANNOT_PARSE_QUOTED_STRING"
    " CANNOT_PARSE_INPUT_ASSERTION_FAILED CANNOT_READ_ALL_DATA CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME TYPE_MISMATCH"
    " ARGUMENT_OUT_OF_BOUND CANNOT_CONVERT_TYPE CANNOT_PARSE_NUMBER INCORRECT_DATA TOO_LARGE_STRING_SIZE"
    " VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN CANNOT_PARSE_UUID"
    " FUNCTION_THROW_IF_VALUE_IS_NON_ZERO DECIMAL_OVERFLOW CANNOT_PARSE_BOOL VIOLATED_CONSTRAINT"
    " UNKNOWN_ELEMENT_OF_ENUM",
    StoreBusy: "CANNOT_READ_FROM_FILE_DESCRIPTOR CANNOT_WRITE_TO_FILE_DESCRIPTOR CANNOT_OPEN_FILE READONLY"
    " CANNOT_ALLOCATE_MEMORY QUOTA_EXCEEDED TOO_MANY_SIMULTANEOUS_QUERIES NO_ZOOKEEPER MEMORY_LIMIT_EXCEEDED"
    " TABLE_IS_READ_ONLY NOT_ENOUGH_SPACE TOO_MANY_PARTS TOO_FEW_LIVE_REPLICAS UNKNOWN_STATUS_OF_INSERT SYSTEM_ERROR"
    " CANNOT_SCHEDULE_TASK DEADLOCK_AVOIDED ACCESS_DENIED SETTING_CONSTRAINT_VIOLATION"
    " AUTHENTICATION_FAILED KEEPER_EXCEPTION",
    StoreUnavailable: "UNEXPECTED_END_OF_FILE TIMEOUT_EXCEEDED DNS_ERROR SOCKET_TIMEOUT NETWORK_ERROR ABORTED"
    " ALL_CONNECTION_TRIES_FAILED QUERY_WAS_CANCELLED",
}


async def test_each_error_means_what_its_name_says_and_every_other_one_may_be_ours(store: Store) -> None:
    shown = "SELECT name, code FROM system.errors SETTINGS system_events_show_zero_values = 1"
    codes = {str(name): int(code) for name, code in await store.fetch(shown)}
    assert len(codes) > 500
    assert {code: public_form(code) for code in codes.values() if code} == {
        code: f"code {code} {name}" for name, code in codes.items() if code
    }
    assert public_form(99_999) == "code 99999"
    named = {name: kind for kind, names in MEANING.items() for name in names.split()}
    assert {name: type(store_error(code, "")) for name, code in codes.items()} == {
        name: named.get(name, StoreFailed) for name in codes
    }
    assert named.keys() <= codes.keys()


@pytest.mark.parametrize("length", [MESSAGE_MAX_CHARS, MESSAGE_MAX_CHARS + 1])
def test_a_message_is_one_line_of_bounded_length_without_what_may_quote_the_statement(length: int) -> None:
    assert shorten("a\n  b c\n\nINSERT of an event") == "a b c"
    assert shorten("x" * length) == "x" * MESSAGE_MAX_CHARS + ("…" if length > MESSAGE_MAX_CHARS else "")
    error = store_error(469, "a constraint\n\nand the row")
    assert (error.code, error.message, error.full_message) == (469, "code 469 VIOLATED_CONSTRAINT", "a constraint")


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (452, "Setting max_query_size should not be changed", "profile of the user fixes max_query_size"),
        (
            164,
            "Cannot modify 'max_query_size' setting in readonly mode",
            "profile of the user fixes max_query_size",
        ),
        (
            497,
            "it's necessary to have the grant TABLE ENGINE ON Buffer",
            "lacks the grant TABLE ENGINE ON Buffer",
        ),
        (497, "have the grant SELECT(match_id) ON fans.events", "lacks the grant SELECT;"),
        (452, "Setting secret_of_a_fan should not be changed", ""),
        (497, "have the grant SECRET", ""),
        (60, "Setting max_query_size", ""),
    ],
)
def test_a_right_that_is_missing_is_named_and_nothing_else_of_the_text(code: int, message: str, told: str) -> None:
    shown = store_error(code, message).message
    assert shown.startswith(public_form(code))
    assert (told in shown) if told else (shown == public_form(code))

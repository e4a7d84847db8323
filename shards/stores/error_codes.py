"""Exceptions by ClickHouse's error code. Names and numbers: ``system.errors``, or ErrorCodes.cpp."""

import re

from shards.errors import RowsRefused, SchemaMismatch, StoreBusy, StoreError, StoreFailed, StoreUnavailable
from shards.stores.error_names import public_form
from shards.stores.own_settings import OWN_SETTINGS

MESSAGE_MAX_CHARS = 1_000

_SCHEMA = frozenset(
    {
        8,  # THERE_IS_NO_COLUMN
        10,  # NOT_FOUND_COLUMN_IN_BLOCK
        16,  # NO_SUCH_COLUMN_IN_TABLE
        20,  # NUMBER_OF_COLUMNS_DOESNT_MATCH
        44,  # ILLEGAL_COLUMN: a MATERIALIZED or ALIAS column
        47,  # UNKNOWN_IDENTIFIER
        60,  # UNKNOWN_TABLE
        80,  # INCORRECT_QUERY: a view where a table is needed
        81,  # UNKNOWN_DATABASE
        122,  # INCOMPATIBLE_COLUMNS
        218,  # TABLE_IS_DROPPED
    }
)
_ROWS = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        376,  # CANNOT_PARSE_UUID
        395,  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO: a view or a constraint of the user's
        407,  # DECIMAL_OVERFLOW
        467,  # CANNOT_PARSE_BOOL
        469,  # VIOLATED_CONSTRAINT
        691,  # UNKNOWN_ELEMENT_OF_ENUM
    }
)
_BUSY = frozenset(
    {
        74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
        75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
        76,  # CANNOT_OPEN_FILE
        164,  # READONLY
        173,  # CANNOT_ALLOCATE_MEMORY
        201,  # QUOTA_EXCEEDED
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        225,  # NO_ZOOKEEPER
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        285,  # TOO_FEW_LIVE_REPLICAS
        319,  # UNKNOWN_STATUS_OF_INSERT
        425,  # SYSTEM_ERROR
        439,  # CANNOT_SCHEDULE_TASK
        452,  # SETTING_CONSTRAINT_VIOLATION
        473,  # DEADLOCK_AVOIDED
        497,  # ACCESS_DENIED
        516,  # AUTHENTICATION_FAILED
        999,  # KEEPER_EXCEPTION
    }
)
_AWAY = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE
        159,  # TIMEOUT_EXCEEDED
        198,  # DNS_ERROR
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        236,  # ABORTED
        279,  # ALL_CONNECTION_TRIES_FAILED
        394,  # QUERY_WAS_CANCELLED, as in a shutdown
    }
)

_ACCESS_DENIED = 497
_BY_PROFILE = frozenset({164, 452})
_SETTING = re.compile(rf"\b({'|'.join(OWN_SETTINGS)})\b")
_GRANT = re.compile(
    r"have the grant (TABLE ENGINE ON (?:ReplacingMergeTree|MergeTree|Memory|Buffer|Join)\b|CREATE TEMPORARY TABLE\b"
    r"|CREATE (?:DATABASE|TABLE|VIEW)\b|DROP TABLE\b|OPTIMIZE\b|INSERT\b|ALTER\b|SHOW\b"
    r"|SELECT(?: ON system\.mutations| for at least one column on system\.processes)?\b)"
)


def store_error(code: int, message: str) -> StoreError:
    """Return the exception for an error that ClickHouse answered with; ``message`` is for its dead letters only."""
    public, full = public_form(code) + _remedy(code, message), shorten(message)
    if code in _SCHEMA:
        return SchemaMismatch([public], code=code, full_message=full)
    if code in _ROWS:
        return RowsRefused(public, code=code, full_message=full)
    if code in _AWAY:
        return StoreUnavailable(public, code=code, full_message=full)
    if code in _BUSY:
        return StoreBusy(public, code=code, full_message=full)
    return StoreFailed(public, code=code, full_message=full)


def _remedy(code: int, message: str) -> str:
    """Return what to do where a grant or a setting of the user is at fault; empty for any other error.

    Nothing is taken from the text but words that stand here, because a view can raise any error with texts of rows.
    """
    if code in _BY_PROFILE and (found := _SETTING.search(message)):
        return f": the profile of the user fixes {found[1]}; let this user change it"
    if code == _ACCESS_DENIED and (found := _GRANT.search(message)):
        return f": the user lacks the grant {found[1]}; the grants that are needed stand in docs/CAPACITY.md"
    return ""


def shorten(message: str) -> str:
    """Return the first paragraph as one line of bounded length; others may quote the statement, which holds events."""
    line = " ".join(message.split("\n\n")[0].split())
    return line if len(line) <= MESSAGE_MAX_CHARS else f"{line[:MESSAGE_MAX_CHARS]}…"

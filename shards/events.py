"""The event as it is logged and stored, one normalized row, and everything that reads the text of a row."""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from zlib import crc32

import attrs
import msgspec

RETRACTION = "retraction"
"""Type of an event that withdraws another one of its match."""

HIGHLIGHT_TYPES = (
    *("goal", "own_goal", "penalty", "yellow_card", "red_card", "var_review", RETRACTION),
    *("match_start", "match_end", "half_start", "half_end", "shootout_goal", "shootout_miss"),
    *("card", "substitution", "suspended", "resumed", "abandoned", "postponed", "injury"),
)
"""Types of events that are worth a line in the feed."""

ROW_START = b'{"match_id":"'
"""The first bytes of every row: recovery searches for them behind a damaged record."""


@attrs.frozen(slots=False)
class Event:
    """One validated event. Field names are the keys of the JSON row in the WAL, in this order.

    Without slots, because msgspec writes the keys of a slotted class in the order of their names, and recovery
    looks for rows that begin with ``match_id`` (:mod:`shards.wal.record`).

    Attributes:
        match_id: routing key, 1 to 128 characters, no control characters.
        event_id: UUID in canonical text; with ``match_id`` the idempotency key.
        event_type: one of the known types.
        timestamp: when it happened, ms since the epoch, UTC.
        team_id: empty where absent.
        player_id: empty where absent.
        metadata: JSON text of an object, as it was sent; ``{}`` where absent.
        received_ns: when it was received, ns since the epoch, by the wall clock.
        order_ns: its place in the order of receipts: of all copies of an event, the one with the lowest stands. Never
            given out twice (:class:`shards.clock.ReceiptClock`); as a rule the ns of its receipt.
    """

    match_id: str
    event_id: str
    event_type: str
    timestamp: int
    team_id: str
    player_id: str
    metadata: str
    received_ns: int
    order_ns: int


class Head(msgspec.Struct):
    """The fields of a row that name its match, and when it was received (ns since the epoch)."""

    match_id: str
    received_ns: int


class Sample(msgspec.Struct):
    """The fields of a row by which it is found again in ClickHouse: its id, and when it was received (ns)."""

    event_id: str
    received_ns: int


class _Correction(msgspec.Struct):
    """The fields of a row that say what it withdraws."""

    event_type: str
    metadata: str


encode_row: Callable[[Event], bytes] = msgspec.json.Encoder().encode
"""Return the event as one line of JSON, without the newline: the payload of a WAL record."""

decode_row: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode
"""Return the event of a WAL record's payload. Raises msgspec.DecodeError if it is none."""

_RECEIVED = b'"received_ns":'
_ORDER = b'"order_ns":'


def stamps_of(row: bytes) -> tuple[int, int]:
    """Return a row's time of receipt and its order, in ns: its last two fields, so that nothing else is decoded."""
    last = row.rindex(b",") + 1
    before = row.rindex(b",", 0, last - 1) + 1
    return int(row[before + len(_RECEIVED) : last - 1]), int(row[last + len(_ORDER) : -1])


def current_row(row: bytes) -> bytes:
    """Return a row as this release writes it: the order of one from the format before is its ``received_ns``.

    The last field of a row is a number, so what follows its last comma is that field.
    """
    end = row.rfind(b",") + 1
    return b'%b,"order_ns":%b' % (row[:-1], row[end + len(_RECEIVED) :]) if row.startswith(_RECEIVED, end) else row


def former_row(row: bytes) -> bytes:
    """Return a row as the release before writes it, whose one stamp is its order: the first received still stands."""
    order_at = row.rfind(b",") + 1
    received_at = row.rfind(b",", 0, max(order_at - 1, 0)) + 1
    if not (row.startswith(_ORDER, order_at) and row.startswith(_RECEIVED, received_at)):
        return row
    return b"%b%b%b" % (row[:received_at], _RECEIVED, row[order_at + len(_ORDER) :])


def letter_crc(row: bytes) -> int:
    """Return the CRC-32 by which a dead letter and the record of its row know each other, whatever their formats."""
    return crc32(former_row(row))


head_of: Callable[[bytes], Head] = msgspec.json.Decoder(Head).decode
sample_of: Callable[[bytes], Sample] = msgspec.json.Decoder(Sample).decode

_correction_of: Callable[[bytes], _Correction] = msgspec.json.Decoder(_Correction).decode
# Quotes within strings, and so those of the metadata, are escaped in a row; a backslash may spell a key otherwise.
_WITHDRAWS = re.compile(rb'"event_type":"%b"|\\"replaces\\"|\\\\u' % RETRACTION.encode())


def withdrawn_by_rows(rows: Iterable[bytes]) -> set[str]:
    """Return the canonical ids of the events that some rows withdraw."""
    named = map(_correction_of, filter(_WITHDRAWS.search, rows))
    return {withdrawn_id(row.event_type, row.metadata) for row in named} - {""}


def withdrawn_id(event_type: str, metadata: str) -> str:
    """Return the canonical id of the event that an event withdraws, "" if it withdraws none.

    A retraction names it as ``eventId``, an event of any other type, whose place it takes, as ``replaces``. If a key is
    given twice, the first one counts, as for ClickHouse's JSONExtractString.
    """
    key = "eventId" if event_type == RETRACTION else "replaces"
    if key not in metadata and "\\u" not in metadata:
        return ""
    try:
        fields = json.loads(metadata, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        return canonical_id(fields[key])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def canonical_id(text: object) -> str:
    """Return an id in the spelling that is stored; "" if ``text`` is no id."""
    try:
        return str(uuid.UUID(text)) if isinstance(text, str) else ""
    except ValueError:
        return ""

"""The event as it is logged and stored: one normalized row."""

import attrs
import msgspec


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
        received_ns: when it was received, ns since the epoch, from :class:`shards.clock.ReceiptClock`.
    """

    match_id: str
    event_id: str
    event_type: str
    timestamp: int
    team_id: str
    player_id: str
    metadata: str
    received_ns: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode_row(event: Event) -> bytes:
    """Return the event as one line of JSON, without the newline: the payload of a WAL record."""
    return _encoder.encode(event)


def decode_row(row: bytes) -> Event:
    """Return the event of a WAL record's payload."""
    return _decoder.decode(row)

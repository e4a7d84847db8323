"""From an `Event` back to the form in which clients send events."""

from typing import Any

import msgspec

from app.schemas.metadata import EMPTY, UNMAPPED
from app.times import iso_ms
from shards import Event

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def as_sent(event: Event) -> dict[str, Any]:
    """Return the event's fields, unknown ones in their old place, absent ones left out.

    Parsed again it is the same event, except for the time of its receipt. Values are JSON text as it was sent.
    """
    metadata, unknown = _parted(event.metadata)
    fields = {
        "matchId": event.match_id,
        "eventId": event.event_id,
        "eventType": event.event_type,
        "timestamp": iso_ms(event.timestamp),
        "teamId": event.team_id,
        "playerId": event.player_id,
        "metadata": "" if metadata == EMPTY else msgspec.Raw(metadata.encode()),
    }
    return {name: value for name, value in fields.items() if value != ""} | unknown


def _parted(metadata: str) -> tuple[str, dict[str, msgspec.Raw]]:
    """Return the metadata that was sent, and the unknown fields that are kept in it."""
    if UNMAPPED not in metadata:
        return metadata, {}
    values = _object.decode(metadata)
    kept = values.pop(UNMAPPED, None)
    return msgspec.json.encode(values).decode(), {} if kept is None else _object.decode(kept)

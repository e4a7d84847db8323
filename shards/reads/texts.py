"""The texts of a highlight: metadata, cut to what is understood where it is long, and player. Pure functions."""

import msgspec

METADATA_MAX_CHARS = 2_048
"""Longest metadata that a highlight carries whole; a hundred of them, at 16 KiB each, would be answers of megabytes."""

VALUE_MAX_CHARS = 512
"""Longest value, as JSON, that is taken over from longer metadata."""

UNDERSTOOD = (
    *("minute", "added", "period", "player", "scorer", "assist", "card", "penalty", "outcome", "reason"),
    *("eventId", "replaces", "x", "y", "home", "away", "competition", "kickoff", "provider", "speed"),
)
"""Keys of metadata that this service understands: of longer metadata these are kept, in this order, as far as they fit.
"""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def texts_of(highlight: str) -> tuple[str, str]:
    """Return metadata and player id from a row's column "highlight"."""
    metadata, _, player_id = highlight.partition("\0")
    return metadata, player_id


def shortened(metadata: str) -> str:
    """Return the metadata of a highlight as it is, or an object of what is understood if it is long."""
    if len(metadata) <= METADATA_MAX_CHARS:
        return metadata
    try:
        members = _members.decode(metadata)
    except (msgspec.DecodeError, RecursionError):
        return "{}"
    kept: list[str] = []
    left = METADATA_MAX_CHARS - 2
    for key in UNDERSTOOD:
        value = bytes(members[key]).decode() if key in members else ""
        member = f'"{key}":{value}'
        if value and len(value) <= VALUE_MAX_CHARS and len(member) < left:
            kept.append(member)
            left -= len(member) + 1
    return f"{{{','.join(kept)}}}"

"""What the metadata of ``match_start`` says beside the sides: competition, kick-off, provider. Pure functions."""

from shards import Side, Sides, match_sides, metadata_of, text_in

__all__ = ["Side", "Sides", "match_details", "match_provider", "match_sides", "metadata_of", "team_names"]


def match_details(start_metadata: str) -> dict[str, str | None]:
    """Return ``competition`` and ``kickoff`` as ``match_start`` named them, None where it did not."""
    metadata = metadata_of(start_metadata)
    return {key: text_in(metadata.get(key)) for key in ("competition", "kickoff")}


def match_provider(start_metadata: str) -> str:
    """Return the ``provider`` of ``match_start``, who recorded the match and is to be named with its data, or ""."""
    return text_in(metadata_of(start_metadata).get("provider")) or ""


def team_names(sides: Sides | None) -> dict[str, str]:
    """Return the names of the sides by team id; empty while the sides are not known."""
    return {side.id: side.name for side in (sides.home, sides.away)} if sides else {}

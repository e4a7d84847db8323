"""Highlights: the events of an answer that are told one by one."""

from collections.abc import Sequence

import attrs

from shards.events import RETRACTION

HIGHLIGHTS = 100
"""Most highlights of an answer, and as many retractions besides, so that fans' retracted words hide no goal."""


@attrs.frozen
class Highlight:
    """An event worth a line in the feed.

    Attributes:
        event_id: canonical UUID.
        event_type: one of :data:`HIGHLIGHT_TYPES`.
        timestamp: when it happened, ms since the epoch.
        team_id: empty where absent.
        player_id: empty where absent.
        metadata: JSON text as it was sent; of long metadata what is understood (:func:`shards.reads.texts.shortened`).
        retracted: withdrawn by a retraction; shown struck out.
        received_ms: when it was received, ms since the epoch, by the wall clock.
        order_ms: its place in the order of receipts, which rises whatever clocks do; as a rule the same.
    """

    event_id: str
    event_type: str
    timestamp: int
    team_id: str
    player_id: str
    metadata: str
    retracted: bool
    received_ms: int = 0
    order_ms: int = 0


def earlier_than(highlights: Sequence[Highlight], lines: tuple[int, int]) -> tuple[int, int]:
    """Return how many highlights, and retractions, there are besides those shown."""
    retractions = sum(highlight.event_type == RETRACTION for highlight in highlights)
    return max(0, lines[0] - len(highlights) + retractions), max(0, lines[1] - retractions)

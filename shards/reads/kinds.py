"""Kinds of events by what they say of a match: its own events, and those in which the ball is in play."""

from collections.abc import Collection
from typing import Final

MATCH_TYPES: Final = frozenset(
    {"match_start", "match_end", "half_start", "half_end", "suspended", "resumed", "abandoned", "postponed"}
)
"""Types of the whistles, and of what officials decide of the whole match."""

KICK_TYPES: Final = frozenset({"shootout_goal", "shootout_miss"})
"""Types of the kicks of a shoot-out, which are not in the score."""

PLAY_TYPES: Final = KICK_TYPES | frozenset(
    {
        *("goal", "own_goal", "penalty", "shot", "save", "pass", "foul", "offside", "corner", "free_kick", "throw_in"),
        *("interception", "tackle", "clearance", "carry", "dribble", "duel", "block", "recovery", "pressure"),
        *("miscontrol", "goalkeeper", "ball_out"),
    }
)
"""Types of events that happen in play: one of them after the end of a match shows that it goes on."""

TEAM_TYPES: Final = PLAY_TYPES | frozenset(
    {"yellow_card", "red_card", "card", "substitution", "formation_change", "var_review", "injury"}
)
"""Types of events of a team."""

FEED_TYPES: Final = MATCH_TYPES | TEAM_TYPES
"""Types of events of the match itself, and not of its fans: what its feed sends."""

COURSE_TYPES: Final = MATCH_TYPES | KICK_TYPES | {"card"}
"""Types of events that say more than a count of them: how far a match is, and which colour a card has."""


def is_of(types: Collection[str]) -> str:
    """Return the condition, in SQL, that an event is of one of these types, as a number."""
    names = ", ".join(f"'{event_type}'" for event_type in sorted(types))
    return f"CAST(event_type IN ({names}), 'UInt8')"

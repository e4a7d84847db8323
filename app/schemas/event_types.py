"""The types of events the service knows, grouped as in the OpenAPI document."""

from collections.abc import Iterable

import attrs

from shards import MATCH_TYPES, RETRACTION, TEAM_TYPES

__all__ = ["BUILT_IN_TYPES", "FAN_TYPES", "MATCH_TYPES", "TEAM_TYPES", "EventTypes"]

FAN_TYPES = frozenset({"cheer", "reaction", "comment", "share", "prediction", "poll_vote", "view"})
BUILT_IN_TYPES = MATCH_TYPES | TEAM_TYPES | FAN_TYPES | {RETRACTION}


@attrs.frozen
class EventTypes:
    """The types of one deployment: the built-in ones and those added by ``FANFINITY_EVENT_TYPES``.

    An added type never requires a team.
    """

    known: frozenset[str] = BUILT_IN_TYPES

    @classmethod
    def with_extra(cls, extra: Iterable[str]) -> "EventTypes":
        """Return the built-in types together with ``extra``."""
        return cls(BUILT_IN_TYPES | frozenset(extra))

    def needs_team(self, event_type: str) -> bool:
        """Say whether events of this type must carry a ``teamId``."""
        return event_type in TEAM_TYPES

"""A recording: what every format is read as."""

from collections.abc import Iterable

import attrs
import msgspec

from app.sending.client import Outgoing


class RecordingError(Exception):
    """The file cannot be replayed; the message says why and what to do."""


@attrs.frozen(kw_only=True)
class Due:
    """An event to send. ``at_s``: when it happened, s since the epoch; None where the file does not say."""

    event: Outgoing
    at_s: float | None


def told_of_speed(event: Outgoing, speed: float | None) -> Outgoing:
    """Have the start of a match say how much faster than played it is sent, so that its clock follows its events."""
    if event.event_type != "match_start" or not speed or speed <= 1:
        return event
    sent = msgspec.json.decode(event.body)
    sent["metadata"] = sent.get("metadata", {}) | {"speed": speed}
    return attrs.evolve(event, body=msgspec.json.encode(sent))


@attrs.frozen(kw_only=True)
class LeftOutRows:
    """Rows that are not sent. ``fault`` names the place where the file itself is wrong, else empty."""

    type_name: str
    reason: str
    rows: int = 1
    fault: str = ""


@attrs.frozen(kw_only=True)
class Recording:
    """A file's content. Every row of it is one :class:`Due` or counted in one :class:`LeftOutRows`.

    An event that no row stands for has an empty ``source``.

    Attributes:
        entries: the rows, and events added to them; can be gone through once.
        rows: rows in the file.
        expected: events to send, as far as is known before the file has been gone through.
        notices: lines that must be shown with the data.
        has_own_times: whether these are events of ours, whose timestamps a kick-off does not move.
        has_kickoff: whether the file, or the command, says at what time of day the match began.
    """

    entries: Iterable[Due | LeftOutRows]
    rows: int
    expected: int
    notices: tuple[str, ...] = ()
    has_own_times: bool = True
    has_kickoff: bool = True

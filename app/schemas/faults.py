"""Faults of an event, in words for the client who has to mend it."""

from collections.abc import Sequence

import attrs


@attrs.frozen
class Fault:
    """One thing to mend. ``field`` is a path as ``$.metadata.eventId``; ``$`` is the event itself.

    ``forbids``: the event is valid, but not for this sender.
    """

    field: str
    message: str
    forbids: bool = False

    def view(self) -> dict[str, str]:
        """Return the fault as it is sent."""
        return {"field": self.field, "message": self.message}


class FieldError(ValueError):
    """A field breaks its rule. Raised by the parse functions; the message completes "this field …"."""


class InvalidEventError(ValueError):
    """An event that breaks rules of the API: all of its faults, and its id where that could be read.

    There are no faults where nobody is told of them, because there are too many such events in the request.
    """

    def __init__(self, faults: Sequence[Fault] = (), *, event_id: str | None = None) -> None:
        super().__init__("; ".join(f"{fault.field} {fault.message}" for fault in faults))
        self.faults = tuple(faults)
        self.event_id = event_id


def shown(text: str) -> str:
    """Quote what the client sent, short and in ASCII, for use in a message."""
    quoted = ascii(text[:60])
    return quoted if len(text) <= 60 else f"{quoted[:-1]}..."

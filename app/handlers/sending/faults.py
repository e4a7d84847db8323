"""Problems of what was sent: no event of it can be taken."""

from typing import Any

from app.schemas.batch import CheckedEvents
from app.schemas.elements import EVENTS_MAX
from app.web.problems import Problem
from app.web.refusals import not_for_this


def none_valid(batch: CheckedEvents, *, empty: str, members: dict[str, Any] | None = None) -> Problem:
    """Return the problem of a body without a valid event; ``empty`` is said where it has none at all."""
    if not batch.rejected:
        return Problem(400, "Empty body", empty, kind="empty")
    view = batch.view() | (members or {})
    errors = view.pop("errors")
    if members is None:
        del view["rejected"]
    if all(fault.forbids for rejection in batch.rejections for fault in rejection.faults):
        return not_for_this(errors, view)
    return invalid_events("No event of the body is valid.", errors, view)


def too_many_events() -> Problem:
    """Return the problem of a body with more events than one request may have."""
    detail = (
        f"At most {EVENTS_MAX} events are accepted in one request, and nothing of this one was taken;"
        " split it, or send NDJSON to /api/events/bulk."
    )
    return Problem(413, "Too many events", detail)


def invalid_events(detail: str, errors: list[dict[str, Any]], members: dict[str, Any] | None = None) -> Problem:
    """Return the problem of events that break rules; ``errors`` names each."""
    return Problem(400, "Invalid events", detail, errors, kind="validation", members=members)

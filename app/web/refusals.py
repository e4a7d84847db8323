"""Requests that are refused: the problems that several handlers tell alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import hdrs

from app.schemas.faults import Fault
from app.web.problems import Problem
from shards import Refusal, Unavailable


def refuse(faults: Sequence[Fault]) -> None:
    """Raise Problem 400 that names every parameter at fault, if there is any."""
    if faults:
        detail = "A parameter of the request cannot be used; errors names it and what is allowed."
        errors = [fault.view() for fault in faults]
        raise Problem(400, "Invalid parameters", detail, errors, kind="validation")


def not_for_this(errors: Sequence[Mapping[str, Any]], members: Mapping[str, Any] | None = None) -> Problem:
    """Return the problem of events that are valid, but not for who sent them."""
    detail = "These events are valid, but whoever sent them may not send them: errors says why."
    return Problem(403, "Forbidden", detail, errors, members=members)


def unknown_match() -> Problem:
    """Return the problem of a match of which nothing was ever received."""
    detail = "No event of this match was received yet; /api/matches lists the known ones."
    return Problem(404, "Unknown match", detail, kind="unknown-match")


def too_many_reads() -> Problem:
    """Return the problem of a read that found too many others waiting."""
    detail = "Too many different matches or pages are being read at the moment. Ask again after Retry-After."
    return Problem(503, "Too many reads", detail, headers={hdrs.RETRY_AFTER: "1"}, kind="unavailable")


_REFUSALS: dict[Refusal, str] = {
    "recovering": "The service is starting: it still reads its log of events.",
    "unreadable": "The service cannot read its log of events.",
    "stopping": "The service is shutting down.",
    "saturated": "Too many events wait for the disk already.",
    "log_full": "There is no room left for events that ClickHouse has not confirmed yet.",
    "disk_short": "The disk of the service has too little room left.",
    "log_failed": "The disk failed; part of the request may be durable.",
}


def refused(error: Unavailable) -> Problem:
    """Return the problem of a request that finds no room now, or no service."""
    return unavailable(
        f"{_REFUSALS[error.refusal]}"
        " Send it again after Retry-After; with the same ids or Idempotency-Key nothing counts twice.",
        retry_after_s=error.retry_after_s,
    )


def unavailable(detail: str, *, retry_after_s: int) -> Problem:
    """Return the problem of what cannot be done now; ``detail`` says why, and what to do."""
    return Problem(503, "Service unavailable", detail, headers={hdrs.RETRY_AFTER: str(retry_after_s)})

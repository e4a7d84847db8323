"""Requests that are refused: the problems that several handlers tell alike."""

from collections.abc import Sequence

from aiohttp import hdrs

from app.schemas.faults import Fault
from app.web.problems import Problem
from shards import NotAccepting, Saturated, Unavailable, WalFailed, WalFull


def refuse(faults: Sequence[Fault]) -> None:
    """Raise Problem 400 that names every parameter at fault, if there is one."""
    if faults:
        detail = "A parameter of the request cannot be used."
        errors = [fault.view() for fault in faults]
        raise Problem(400, "Invalid parameters", detail, errors, kind="validation")


def unknown_match() -> Problem:
    """Return the problem of a match nothing was ever received of."""
    return Problem(404, "Unknown match", "Nothing was received of this match yet.", kind="unknown-match")


_REFUSALS: dict[type[Unavailable], str] = {
    NotAccepting: "The service is starting or shutting down.",
    Saturated: "More is waiting for the disk than may wait.",
    WalFull: "The room for events that ClickHouse has not confirmed yet is used up.",
    WalFailed: "The disk failed; part of the request may be durable.",
}


def refused(error: Unavailable) -> Problem:
    """Return the problem of a request that finds no room, or no service, now."""
    return Problem(
        503,
        "Service unavailable",
        f"{_REFUSALS.get(type(error), 'The service cannot take events now.')}"
        " Send it again after Retry-After; with the same ids or Idempotency-Key nothing counts twice.",
        headers={hdrs.RETRY_AFTER: str(error.retry_after_s)},
    )

"""`GET /api/matches` and `GET /api/matches/{matchId}/metrics`."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import hdrs, web

from app.context import Context
from app.engagement import QUIET_MS, match_status, match_summary, metrics_view
from app.handlers.parameters import Page, Position, cursor_of, page_of, path_match_id
from app.keys import CONTEXT, MATCH_ID
from app.live import UnknownMatch
from app.problems import Problem
from shards.reads import MatchAggregates

routes = web.RouteTableDef()


@routes.get("/api/matches")
async def list_matches(request: web.Request) -> web.Response:
    """List matches, newest activity first."""
    page = page_of(request.query)
    matches, last = await _page_of_matches(request.app[CONTEXT], page)
    now = datetime.now(UTC)
    return _answer(
        {
            "matches": [match_summary(match, now=now) for match in matches],
            "nextCursor": cursor_of(last) if last else None,
        }
    )


@routes.get("/api/matches/{matchId:[^/]+}/metrics")
async def match_metrics(request: web.Request) -> web.Response:
    """Answer with the engagement metrics of a match."""
    context, match_id = request.app[CONTEXT], path_match_id(request)
    try:
        aggregates = await context.live.metrics(match_id)
    except UnknownMatch:
        raise unknown_match() from None
    request[MATCH_ID] = match_id
    percentiles = context.response_times.percentiles(match_id)
    return _answer(metrics_view(aggregates, now=datetime.now(UTC), percentiles=percentiles))


def unknown_match() -> Problem:
    """Return the problem of a match nothing was ever received of."""
    return Problem(404, "Unknown match", "Nothing was received of this match yet.", kind="unknown-match")


async def _page_of_matches(context: Context, page: Page) -> tuple[list[MatchAggregates], Position | None]:
    """Return the matches of a page, and the position after which the next one begins, None on the last page."""
    found: list[MatchAggregates] = []
    after = page.after
    while True:
        # One more than wanted tells whether there is a next page.
        recent = await context.live.recent_matches(limit=page.limit + 1, before=after)
        answers = await context.live.metrics_of([match_id for match_id, _ in recent])
        for match_id, last_ms in recent:
            if len(found) == page.limit:
                return found, after
            after = (last_ms, match_id)
            if page.active and last_ms < time.time_ns() // 1_000_000 - QUIET_MS:
                return found, None
            if _is_wanted(match_id, answers, active=page.active):
                found.append(answers[match_id])
        if len(recent) <= page.limit:
            return found, None


def _is_wanted(match_id: str, answers: Mapping[str, MatchAggregates], *, active: bool | None) -> bool:
    if match_id not in answers:
        return False
    is_live = match_status(answers[match_id], now=datetime.now(UTC)) == "live"
    return active is None or active == is_live


def _answer(view: dict[str, Any]) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(view),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-cache"},
    )

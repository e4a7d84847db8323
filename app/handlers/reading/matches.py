"""`GET /api/matches` and `GET /api/matches/{matchId}/metrics`."""

from collections.abc import Mapping

from aiohttp import web

from app.context import CONTEXT, Context
from app.engagement.clock import QUIET_SUSPENDED_MS, match_status
from app.engagement.views import match_summary
from app.handlers.parameters import (
    ListPosition,
    MatchesPage,
    curve_of,
    faults_of,
    matches_cursor,
    page_of,
    path_match_id,
)
from app.live import UnknownMatch
from app.web.answers import json_answer
from app.web.conditional import REVALIDATED
from app.web.keys import MATCH_ID, TAG
from app.web.refusals import refuse, unknown_match
from shards import MINUTE_MS, MatchAggregates

LOOKED_AT_ONCE = 100
LOOKS_MAX = 10
"""Matches that are looked at next where a page is not full yet, and the most times that this is done."""

routes = web.RouteTableDef()


@routes.get("/api/matches")
async def list_matches(request: web.Request) -> web.Response:
    """List matches, newest activity first."""
    page = page_of(request)
    matches, last = await _page_of_matches(request.app[CONTEXT], page)
    view = {
        "matches": [match_summary(match) for match in matches],
        "nextCursor": matches_cursor(last, active=page.active) if last else None,
    }
    return json_answer(view, caching=REVALIDATED)


@routes.get("/api/matches/{matchId:[^/]+}/metrics")
async def match_metrics(request: web.Request) -> web.Response:
    """Answer with the engagement metrics of a match."""
    context, faults = request.app[CONTEXT], faults_of(request)
    match_id, curve = path_match_id(request, faults), curve_of(request.query, faults)
    refuse(faults)
    try:
        aggregates = await context.live.aggregates(match_id, bucket_ms=curve.read_ms if curve else MINUTE_MS)
    except UnknownMatch:
        raise unknown_match() from None
    request[MATCH_ID] = match_id
    rendered = await context.rendered.get(aggregates, curve)
    request[TAG] = rendered.tag
    return json_answer(rendered.body, caching=REVALIDATED)


async def _page_of_matches(context: Context, page: MatchesPage) -> tuple[list[MatchAggregates], ListPosition | None]:
    """Return the matches of a page, and the position after which the next one begins, None on the last page.

    A page may hold less than it could where few are wanted of many, because what is looked at for it is bounded.
    """
    found: list[MatchAggregates] = []
    after = page.after
    for looked_at in (page.limit, *[LOOKED_AT_ONCE] * LOOKS_MAX):
        # One more than wanted tells whether there is a next page.
        recent = await context.live.recent_matches(limit=looked_at + 1, before=after)
        answers = await context.live.aggregates_by_match([match_id for match_id, _ in recent])
        for match_id, last_ms in recent:
            if len(found) == page.limit:
                return found, after
            after = (last_ms, match_id)
            if page.active and last_ms < context.shards.clock.earliest_ms(QUIET_SUSPENDED_MS):
                return found, None  # all that follow are quiet
            if _is_wanted(match_id, answers, active=page.active):
                found.append(answers[match_id])
        if len(recent) <= looked_at:
            return found, None
    return found, after


def _is_wanted(match_id: str, answers: Mapping[str, MatchAggregates], *, active: bool | None) -> bool:
    if match_id not in answers:
        return False
    return active is None or active == (match_status(answers[match_id]) == "live")

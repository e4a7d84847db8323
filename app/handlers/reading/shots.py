"""`GET /api/matches/{matchId}/shots`: the attempts of a match, with where they came from and what became of them."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiohttp import web

from app.context import CONTEXT
from app.engagement.clock import MatchStanding, standing_of, told_minute
from app.engagement.sides import metadata_of
from app.handlers.parameters import faults_of, path_match_id
from app.live import UnknownMatch
from app.schemas.values import coordinate, name_in, player_of
from app.times import iso_ms
from app.web.answers import json_answer
from app.web.conditional import REVALIDATED
from app.web.keys import MATCH_ID
from app.web.refusals import refuse, unknown_match
from shards import Event, EventQuery, FoundEvent

SHOTS_MAX: Final = 1_000
"""Most attempts of an answer, the newest ones."""

SAME_SHOT_MS: Final = 15_000
"""Milliseconds before a goal within which a shot of the same player is the attempt that it came from."""

TYPES: Final = frozenset({"shot", "goal"})

routes = web.RouteTableDef()


@routes.get("/api/matches/{matchId:[^/]+}/shots")
async def match_shots(request: web.Request) -> web.Response:
    """Answer with the attempts of a match that stand, oldest first; own goals and shoot-outs are none."""
    context, faults = request.app[CONTEXT], faults_of(request)
    match_id = path_match_id(request, faults)
    refuse(faults)
    try:
        standing = standing_of(await context.live.aggregates(match_id))
    except UnknownMatch:
        raise unknown_match() from None
    page = await context.live.events(EventQuery(match_id=match_id, types=TYPES, limit=SHOTS_MAX))
    if page is None:
        raise unknown_match()
    request[MATCH_ID] = match_id
    view = {
        "matchId": match_id,
        "shots": await asyncio.to_thread(_shot_views, page.events, standing),
        "pendingEvents": page.pending_events,
        "truncated": page.end is not None,
    }
    return json_answer(view, caching=REVALIDATED)


def _shot_views(newest_first: Sequence[FoundEvent], standing: MatchStanding) -> list[dict[str, Any]]:
    """Return the attempts as the API shows them; slow for many of long metadata."""
    return [_shot_view(event, shot, standing) for event, shot in attempts_of(newest_first)]


def attempts_of(newest_first: Sequence[FoundEvent]) -> Iterator[tuple[Event, Event | None]]:
    """Yield the attempts that stand, oldest first; with a goal the shot that it came from, which is none of its own."""
    standing = [found.event for found in reversed(newest_first) if not found.retracted]
    open_shots: dict[tuple[str, str], Event] = {}
    shot_of: dict[str, Event] = {}
    for event in standing:
        scorer = _scorer(event)
        if event.event_type == "shot":
            open_shots[scorer] = event
        elif (shot := open_shots.pop(scorer, None)) and event.timestamp - shot.timestamp <= SAME_SHOT_MS:
            shot_of[event.event_id] = shot
    taken = {shot.event_id for shot in shot_of.values()}
    return ((event, shot_of.get(event.event_id)) for event in standing if event.event_id not in taken)


def _scorer(event: Event) -> tuple[str, str]:
    return event.team_id, event.player_id or player_of(metadata_of(event.metadata))


def _shot_view(event: Event, shot: Event | None, standing: MatchStanding) -> dict[str, Any]:
    metadata = (metadata_of(shot.metadata) if shot else {}) | metadata_of(event.metadata)
    told = told_minute(metadata) or standing.minute_at(event.timestamp)
    is_goal = event.event_type == "goal"
    return {
        "eventId": event.event_id,
        "eventType": event.event_type,
        "timestamp": iso_ms(event.timestamp),
        "teamId": event.team_id,
        "playerId": event.player_id or None,
        "player": player_of(metadata) or None,
        "x": coordinate(metadata.get("x")),
        "y": coordinate(metadata.get("y")),
        "outcome": "goal" if is_goal else name_in(metadata.get("outcome")) or None,
        "penalty": metadata.get("penalty") is True,
        "minute": told[0] if told else None,
        "added": told[1] if told else None,
    }

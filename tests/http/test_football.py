"""A match as its fans see it, over HTTP: clock, phase, shoot-out, shots, last minute, corrections, export."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.documented import assert_documented
from tests.http.problem import assert_problem
from tests.http.service import Reply, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIDES = {"home": {"id": "1", "name": "Home"}, "away": {"id": "2", "name": "Away"}}


def ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def event(event_type: str, minutes_ago: float, team: str | None = None, **metadata: Any) -> dict[str, Any]:
    sent = {"eventId": str(uuid.uuid4()), "eventType": event_type, "timestamp": ago(minutes_ago)}
    return sent | ({"teamId": team} if team else {}) | ({"metadata": metadata} if metadata else {})


async def sent(service: Service, match_id: str, *events: dict[str, Any]) -> dict[str, Any]:
    """Send events of a match, and return its metrics once they are in."""
    assert (await service.post(f"/api/matches/{match_id}/events", list(events))).status == 202
    retracted = [one["metadata"] for one in events if "metadata" in one]
    withdrawn = {metadata.get("eventId") or metadata.get("replaces") for metadata in retracted} - {None}
    metrics: dict[str, Any] = await service.metrics(match_id, total=len(events) - len(withdrawn))
    return metrics


async def test_the_clock_runs_from_kick_off_and_no_prediction_starts_it(service: Service) -> None:
    metrics = await sent(
        service,
        "clock",
        event("prediction", 95),
        event("match_start", 9.5, **SIDES),
        event("pass", 0, "1"),
    )
    assert (metrics["status"], metrics["phase"], metrics["endedBy"]) == ("live", "first_half", None)
    assert (metrics["clock"]["minute"], metrics["clock"]["added"], metrics["clock"]["running"]) == (10, None, True)


async def test_it_stands_in_the_break(service: Service) -> None:
    metrics = await sent(service, "break", event("half_end", 10, minute=45), event("cheer", 0))
    assert metrics["phase"] == "half_time"
    assert (metrics["clock"]["minute"], metrics["clock"]["running"]) == (45, False)


async def test_a_shoot_out_has_a_winner_and_is_in_no_score(service: Service) -> None:
    kicks = zip("1212121", (1, 0, 1, 1, 1, 0, 1), strict=True)
    metrics = await sent(
        service,
        "pens",
        event("match_start", 150, **SIDES),
        event("goal", 140, "1"),
        event("goal", 130, "2"),
        *(event("shootout_goal" if hit else "shootout_miss", 20 - n, team) for n, (team, hit) in enumerate(kicks)),
        event("match_end", 1),
    )
    assert (metrics["score"], metrics["shootout"]) == ({"home": 1, "away": 1}, {"home": 4, "away": 1})
    assert (metrics["status"], metrics["endedBy"], metrics["phase"]) == ("finished", "match_end", "finished")
    [listed] = [one for one in (await service.get("/api/matches")).json["matches"] if one["matchId"] == "pens"]
    assert (listed["shootout"], listed["phase"], listed["endedBy"]) == ({"home": 4, "away": 1}, "finished", "match_end")
    page = (await service.get("/matches/pens")).text
    assert "4:1 pens" in page
    assert "Home 1:1 Away, 4:1 on penalties" in page


async def test_cards_count_by_their_colour(service: Service) -> None:
    colours = ({"card": "yellow"}, {"card": "second_yellow"}, {"card": "RED"}, {})
    metrics = await sent(
        service, "cards", *(event("card", 1, "1", **colour) for colour in colours), event("yellow_card", 1, "2")
    )
    assert (metrics["yellowCards"], metrics["redCards"]) == (4, 2)
    assert metrics["eventsByTypeAndTeam"] == {"card": {"1": 4}, "yellow_card": {"2": 1}}


async def test_the_last_minute_is_told_of_a_live_match(service: Service) -> None:
    metrics = await sent(
        service,
        "now",
        event("match_start", 5, **SIDES),
        *(event("cheer", 0) for _ in range(3)),
        event("cheer", 2.5),
        event("goal", 0, "1"),
    )
    assert metrics["lastMinute"]["byType"] == {"cheer": 3, "goal": 1}
    assert metrics["lastMinute"]["eventCount"] == 4
    assert metrics["lastMinute"]["usual"] is not None
    ended = await sent(service, "then", event("match_start", 5, **SIDES), event("match_end", 0))
    assert ended["lastMinute"] is None


async def test_momentum_is_weighted_by_what_was_done_and_where(service: Service) -> None:
    metrics = await sent(
        service,
        "pushed",
        event("match_start", 5, **SIDES),
        *(event("shot", 2, "1", x=100), event("pass", 2, "1", x=0), event("corner", 2, "2"), event("cheer", 2, "2")),
    )
    [minute] = metrics["momentumByMinute"]
    assert (minute["home"], minute["away"]) == (7.125, 3.0)


async def test_a_peak_names_what_caused_it(service: Service) -> None:
    goal = event("goal", 10, "1", player="Lindqvist")
    calm = [event("cheer", 10 + n) for n in range(1, 20)]
    crowd = [event("cheer", 9.99) for _ in range(40)]
    metrics = await sent(service, "peak", event("match_start", 31, **SIDES), *calm, goal, *crowd)
    cause = metrics["peakPeriods"][0]["cause"]
    assert (cause["eventId"], cause["eventType"], cause["player"]) == (goal["eventId"], "goal", "Lindqvist")


async def test_a_scorer_is_corrected_by_one_event(service: Service) -> None:
    wrong = event("goal", 5, "1", player="Adam")
    right = event("goal", 5, "2", player="Bert", replaces=wrong["eventId"])
    metrics = await sent(service, "corrected", event("match_start", 9, **SIDES), wrong, right)
    assert metrics["score"] == {"home": 0, "away": 1}
    assert metrics["goals"] == 1
    events = (await service.get("/api/matches/corrected/events")).json["events"]
    assert {one["eventId"]: one["retracted"] for one in events if one["eventType"] == "goal"} == {
        wrong["eventId"]: True,
        right["eventId"]: False,
    }


async def test_the_curve_can_lie_on_the_minutes_of_the_match(service: Service) -> None:
    events = [
        {"eventType": "cheer", "timestamp": "2024-01-15T13:30:05Z"},
        {"eventType": "match_start", "timestamp": "2024-01-15T14:00:00Z", "metadata": SIDES},
        {"eventType": "pass", "teamId": "1", "timestamp": "2024-01-15T14:00:15Z"},
        {"eventType": "goal", "teamId": "1", "timestamp": "2024-01-15T14:46:30Z"},
        {"eventType": "half_end", "timestamp": "2024-01-15T14:48:00Z"},
        {"eventType": "cheer", "timestamp": "2024-01-15T14:55:00Z"},
        {"eventType": "half_start", "timestamp": "2024-01-15T15:03:00Z"},
        {"eventType": "yellow_card", "teamId": "2", "timestamp": "2024-01-15T15:04:15Z"},
    ]
    await sent(service, "axis", *events)
    reply = await service.get("/api/matches/axis/metrics?axis=match&bucket=1m")
    assert_documented("GET", "/api/matches/{matchId}/metrics", reply)
    points = reply.json["curve"]["points"]
    assert [(one["phase"], one["minute"], one["added"], one["second"], one["eventCount"]) for one in points] == [
        ("before", None, None, None, 1),
        ("first_half", 1, None, 0, 2),
        ("first_half", 45, 2, 46 * 60, 1),
        ("half_time", None, None, None, 1),
        ("half_time", None, None, None, 1),
        ("second_half", 46, None, 45 * 60, 1),
        ("second_half", 47, None, 46 * 60, 1),
    ]
    assert_problem(await service.get("/api/matches/axis/metrics?axis=x"), 400, says="axis")


async def test_shots_tell_where_they_came_from_and_what_became_of_them(service: Service) -> None:
    shot = event("shot", 5, "1", x=88, y="40.5", outcome="saved", player="Adam")
    tried = event("shot", 4, "2", x=91, y=50, player="Bert")
    scored = event("goal", 4 - 2 / 60, "2", player="Bert", minute="45+1")
    taken_back = event("goal", 3, "1")
    await sent(
        service,
        "shots",
        *(event("match_start", 9, **SIDES), shot, tried, scored, taken_back, event("own_goal", 2, "1")),
        event("retraction", 1, eventId=taken_back["eventId"]),
    )
    reply = await service.get("/api/matches/shots/shots")
    assert_documented("GET", "/api/matches/{matchId}/shots", reply)
    first, second = reply.json["shots"]
    assert (first["x"], first["y"], first["outcome"], first["player"]) == (88, 40.5, "saved", "Adam")
    assert (second["eventId"], second["outcome"], second["x"], second["y"]) == (scored["eventId"], "goal", 91, 50)
    assert (second["minute"], second["added"]) == (45, 1)
    assert_problem(await service.get("/api/matches/unknown-match/shots"), 404)


async def exported(service: Service, match_id: str) -> Reply:
    return await service.get(f"/api/matches/{match_id}/events", headers={"Accept": "application/x-ndjson"})


async def test_an_export_can_be_sent_again_to_the_letter(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, one of which holds more events than a piece should; and with fields that the service did not know."""
    monkeypatch.setattr("app.handlers.reading.export.PIECE_EVENTS", 20)
    monkeypatch.setattr("app.handlers.reading.export.PAGE_EVENTS", 7)
    goal = event("goal", 5, "1", player="Adam") | {"xG": 0.25}
    events = [event("cheer", 30 - n / 10) for n in range(100)] + [event("view", 3 - n / 1e5) for n in range(90)]
    events += [goal, event("retraction", 4, eventId=goal["eventId"])]
    await sent(service, "export", *events)
    reply = await exported(service, "export")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert [line["eventId"] for line in lines] == [
        one["eventId"] for one in sorted(events, key=lambda one: datetime.fromisoformat(one["timestamp"]))
    ]
    [line] = [line for line in lines if line["eventType"] == "goal"]
    assert (line["xG"], line["metadata"]) == (0.25, {"player": "Adam"})
    body = reply.text.replace('"matchId":"export"', '"matchId":"imported"').encode()
    again = await service.request("POST", "/api/events", data=body, headers={"Content-Type": "application/x-ndjson"})
    assert (again.status, again.json["accepted"]) == (202, len(events))
    await service.metrics("imported", total=len(events) - 1)
    assert (await exported(service, "imported")).text.replace("imported", "export") == reply.text


async def test_an_export_takes_no_filter_and_needs_a_match(service: Service) -> None:
    headers = {"Accept": "application/x-ndjson"}
    assert_problem(await service.get("/api/matches/nobody/events", headers=headers), 404)
    await sent(service, "whole", event("cheer", 1))
    assert_problem(await service.get("/api/matches/whole/events?type=goal", headers=headers), 400, says="whole match")

"""Rows that no sample has: what each provider's module makes of them, and the clock that all share."""

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sending.providers import datafactory, impect, metrica, opta_feeds, sportec, wyscout_v2, wyscout_v3
from app.sending.providers.clock import MINUTES_BEFORE, period_starts, said_minute
from app.sending.providers.match import Row

HOME, AWAY = 1, 2


@pytest.mark.parametrize(
    ("period", "clock", "said"),
    [
        (1, "0:00", (1, 0)),
        (1, "44:59", (45, 0)),
        (1, "45:00", (45, 1)),
        (1, "46:30", (45, 2)),
        (2, "1:10", (47, 0)),
        (2, "0:00", (46, 0)),
        (2, "44:59.999", (90, 0)),
        (2, "49:10", (90, 5)),
        (3, "0:30", (91, 0)),
        (3, "15:20", (105, 1)),
        (4, "0:00", (106, 0)),
        (4, "16:00", (120, 2)),
        (5, "3:00", (120, 0)),
    ],
)
def test_the_minute_is_the_one_that_people_say(period, clock, said):
    minutes, seconds = clock.split(":")

    assert said_minute(period, int(minutes) * 60 + float(seconds)) == said


@given(st.sampled_from([1, 2, 3, 4]), st.floats(0, 10_000))
def test_minute_and_stoppage_time_together_are_the_clock(period, seconds):
    minute, added = said_minute(period, seconds)

    assert minute + added == MINUTES_BEFORE[period] + int(seconds // 60) + 1
    assert added == 0 or minute in (45, 90, 105, 120)


def test_without_extra_time_kicks_are_taken_after_ninety_minutes():
    assert said_minute(5, 60, had_extra_time=False) == (90, 0)


def test_periods_follow_each_other_with_their_pauses():
    assert period_starts([(1, 2800), (2, 2900), (5, 600)]) == {1: 0, 2: 2800 + 900, 5: 2800 + 900 + 2900 + 300}
    assert period_starts([(2, 2900)]) == {2: 0}


def told(row: Row) -> tuple[str, str, dict[str, Any], list[tuple[str, str]]]:
    """Type, team, what a fan would ask for of the details, and the events besides."""
    details = {key: value for key, value in row.details.items() if key in ("penalty", "card") and value}
    return row.event_type, row.team_id, details, [(b.event_type, b.team_id) for b in row.besides]


def of_wyscout_v2(name: int, sub_name: int, tags: list[int], period: str = "2H") -> Row:
    row = {
        "id": 7, "playerId": 11, "teamId": HOME, "matchId": 3, "matchPeriod": period, "eventSec": 60.5,
        "eventName": name, "subEventName": sub_name, "positions": [], "tags": [{"id": tag} for tag in tags],
    }  # fmt: skip
    return wyscout_v2.read({"events": [row]}).rows[0]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((3, 35, [101]), ("goal", "1", {"penalty": True}, [("penalty", "1")])),
        ((3, 35, []), ("shot", "1", {"penalty": True}, [("penalty", "1")])),
        ((3, 35, [101], "P"), ("shootout_goal", "1", {}, [])),
        ((3, 35, [], "P"), ("shootout_miss", "1", {}, [])),
        ((3, 33, [101]), ("goal", "1", {}, [])),
        ((7, 72, [102]), ("own_goal", "1", {}, [])),
        ((9, 91, [102]), ("goalkeeper", "1", {}, [])),
        ((2, 20, [1703]), ("foul", "1", {}, [("card", "1")])),
        ((2, 20, [1701]), ("foul", "1", {}, [("red_card", "1")])),
        ((2, 24, [1703]), ("card", "1", {"card": "second_yellow"}, [])),
        ((2, 24, []), ("", "1", {}, [])),
        ((7, 72, [1401]), ("interception", "1", {}, [])),
    ],
)
def test_rows_of_wyscout_v2(row, expected):
    assert told(of_wyscout_v2(*row)) == expected


def of_wyscout_v3(primary: str, secondary: list[str], period: str = "2H", **parts: Any) -> Row:
    row = {
        "id": 7, "matchId": 3, "matchPeriod": period, "minute": 50, "second": 1, "team": {"id": HOME, "name": "H"},
        "player": {"id": 11, "name": "P"}, "type": {"primary": primary, "secondary": secondary}, **parts,
    }  # fmt: skip
    return wyscout_v3.read({"events": [row]}).rows[0]


@pytest.mark.parametrize(
    ("row", "parts", "expected"),
    [
        (("penalty", []), {"shot": {"isGoal": True}}, ("goal", "1", {"penalty": True}, [("penalty", "1")])),
        (("penalty", [], "P"), {"shot": {"isGoal": True}}, ("shootout_goal", "1", {}, [])),
        (("penalty", [], "P"), {"shot": {"isGoal": False}}, ("shootout_miss", "1", {}, [])),
        (("own_goal", []), {}, ("own_goal", "1", {}, [])),
        (("corner", ["shot"]), {"shot": {"isGoal": True}}, ("goal", "1", {}, [])),
        (
            ("infraction", ["foul"]),
            {"infraction": {"yellowCard": True, "redCard": True}},
            ("foul", "1", {}, [("card", "1")]),
        ),
        (("infraction", ["protest"]), {"infraction": {"yellowCard": True}}, ("yellow_card", "1", {}, [])),
        (("infraction", ["protest"]), {}, ("", "1", {}, [])),
        (("touch", ["carry"]), {}, ("carry", "1", {}, [])),
    ],
)
def test_rows_of_wyscout_v3(row, parts, expected):
    assert told(of_wyscout_v3(*row, **parts)) == expected


def of_datafactory(group: str, kind: int, half: int = 2) -> Row:
    row = {"type": kind, "t": {"half": half, "m": 50, "s": None}, "team": HOME, "plyrId": 11}
    match = {"homeTeamId": HOME, "awayTeamId": AWAY, "matchId": 3}
    document = {
        "match": match,
        "players": {"11": {"teamId": AWAY, "name": {}}},
        "teams": {},
        "incidences": {group: {"7": row}},
    }
    return datafactory.read(document).rows[0]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("shots", 13), ("goal", "1", {"penalty": True}, [])),
        (("shots", 43), ("shot", "1", {"penalty": True}, [])),
        (("shots", 10), ("own_goal", "2", {}, [])),
        (("goals", 9), ("goal", "1", {}, [])),
        (("redCards", 4), ("card", "1", {"card": "second_yellow"}, [])),
        (("redCards", 5), ("red_card", "1", {}, [])),
        (("fouls", 32), ("foul", "1", {}, [("penalty", "2")])),
        (("penaltyShootout", 55), ("shootout_goal", "1", {}, [])),
        (("penaltyShootout", 57), ("shootout_miss", "1", {}, [])),
        (("status", 54), ("half_start", "1", {}, [])),
        (("nutmegs", 507), ("", "1", {}, [])),
    ],
)
def test_rows_of_datafactory(row, expected):
    assert told(of_datafactory(*row)) == expected


def of_sportec(*elements: str, section: str = "secondHalf") -> Row:
    information = ElementTree.fromstring(
        '<P><MatchInformation><General MatchId="3"/><Teams><Team TeamId="1" Role="home"/>'
        '<Team TeamId="2" Role="guest"/></Teams></MatchInformation></P>'
    )
    within = ""
    for element in reversed(elements):
        name = element.split()[0]
        within = f"<{element}>{within}</{name}>"
    events = ElementTree.fromstring(
        f'<P><Event EventId="1" EventTime="2024-01-01T12:00:00+00:00"><KickOff GameSection="{section}"/></Event>'
        f'<Event EventId="2" EventTime="2024-01-01T12:10:00+00:00">{within}</Event></P>'
    )
    return sportec.read(events, information).rows[1]


@pytest.mark.parametrize(
    ("elements", "section", "expected"),
    [
        (('Penalty Team="1"', 'ShotAtGoal Team="1"', "SuccessfulShot"), "secondHalf",
         ("goal", "1", {"penalty": True}, [("penalty", "1")])),
        (('Penalty Team="1"', 'ShotAtGoal Team="1"', "SuccessfulShot"), "penalty", ("shootout_goal", "1", {}, [])),
        (('Penalty Team="1"', 'ShotAtGoal Team="1"', "SavedShot"), "penalty", ("shootout_miss", "1", {}, [])),
        (('OwnGoal Team="2" TeamOwnGoalCountsFor="1"',), "secondHalf", ("own_goal", "2", {}, [])),
        (('Caution CardColor="yellowRed" Team="1"',), "secondHalf", ("card", "1", {"card": "second_yellow"}, [])),
        (('Caution CardColor="red" Team="1"',), "secondHalf", ("red_card", "1", {}, [])),
        (('FinalWhistle BreakingOff="true" GameSection="secondHalf"',), "secondHalf", ("abandoned", "", {}, [])),
        (('VideoAssistantAction Team="2"',), "secondHalf", ("var_review", "2", {}, [])),
        (("VideoAssistantAction",), "secondHalf", ("", "", {}, [])),
        (('OtherBallAction Team="1" DefensiveClearance="true"',), "secondHalf", ("clearance", "1", {}, [])),
        (('Substitution Team="1" PlayerOut="a" PlayerIn="b"',), "secondHalf", ("substitution", "1", {}, [])),
    ],
)  # fmt: skip
def test_rows_of_sportec(elements, section, expected):
    assert told(of_sportec(*elements, section=section)) == expected


def of_impect(*kinds: tuple[str, str | None], period: int = 2) -> list[Row]:
    rows = [
        {"id": n, "actionType": kind, "result": result, "periodId": period, "squadId": HOME, "player": {"id": 11},
         "gameTime": {"gameTime": "50:00.000"}}
        for n, (kind, result) in enumerate(kinds)
    ]  # fmt: skip
    squads = {key: {"id": n, "substitutions": []} for key, n in (("squadHome", HOME), ("squadAway", AWAY))}
    return list(impect.read(rows, squads).rows)


@pytest.mark.parametrize(
    ("kinds", "period", "expected"),
    [
        ([("SHOT", "SUCCESS"), ("GK_SAVE", None), ("GOAL", None)], 2, ["goal", "save", ""]),
        ([("GOAL", None)], 2, ["goal"]),
        ([("SHOT", "FAIL")], 2, ["shot"]),
        ([("FREE_KICK", "SUCCESS"), ("GOAL", None)], 2, ["goal", ""]),
        ([("FREE_KICK", "SUCCESS"), ("PASS", None)], 2, ["free_kick", "pass"]),
        ([("OWN_GOAL", None), ("GOAL", None)], 2, ["own_goal", ""]),
        ([("PENALTY_KICK", "SUCCESS"), ("GOAL", None)], 5, ["shootout_goal", ""]),
        ([("PENALTY_KICK", "FAIL")], 5, ["shootout_miss"]),
        ([("SECOND_YELLOW_CARD", None), ("YELLOW_CARD", None)], 2, ["card", "yellow_card"]),
    ],
)
def test_rows_of_impect(kinds, period, expected):
    assert [row.event_type for row in of_impect(*kinds, period=period)] == expected


def test_a_penalty_of_impect_adds_the_award():
    assert told(of_impect(("PENALTY_KICK", "SUCCESS"))[0]) == ("goal", "1", {"penalty": True}, [("penalty", "1")])


def test_substitutions_of_impect_pair_who_goes_with_who_comes():
    def change(player: int, clock: str, **positions: str) -> dict[str, Any]:
        return {"playerId": player, "gameTime": {"gameTime": clock}, **positions}

    squad = {
        "id": HOME,
        "substitutions": [
            change(1, "45:00.0 (+01:00.0)", fromPosition="DEFENDER", toPosition="BANK"),
            change(2, "45:00.0 (+01:10.0)", fromPosition="BANK", toPosition="DEFENDER"),
            change(3, "60:00.0", fromPosition="DEFENDER", toPosition="BANK"),
        ],
    }
    rows = [
        {
            "id": 1,
            "actionType": "PASS",
            "periodId": 2,
            "squadId": HOME,
            "player": None,
            "gameTime": {"gameTime": "50:0.0"},
        }
    ]
    file = impect.read(
        rows, {"squadHome": squad, "squadAway": {"id": AWAY, "substitutions": []}}, [], [{"id": 2, "commonname": "On"}]
    )

    assert [(row.player_id, row.period, row.seconds, row.details["replacement"]) for row in file.unsent] == [
        ("1", 1, 2760.0, "On")
    ]


def of_metrica(*rows: tuple[int, list[int]], period: int = 2) -> list[Row]:
    data = [
        {"index": n, "team": {"name": "H", "id": "1"}, "type": {"name": "T", "id": kind}, "period": period,
         "subtypes": [{"id": subtype, "name": "S"} for subtype in subtypes], "start": {"time": 60.0 + n},
         "from": {"name": "P", "id": "11"}}
        for n, (kind, subtypes) in enumerate(rows)
    ]  # fmt: skip
    metadata = ElementTree.fromstring('<main><Score idLocalTeam="1" idVisitingTeam="2"/></main>')
    return list(metrica.read({"data": data}, metadata).rows)


@pytest.mark.parametrize(
    ("rows", "period", "expected"),
    [
        ([(5, [36]), (2, [30])], 2, [("penalty", "1", {}, []), ("goal", "1", {"penalty": True}, [])]),
        ([(5, [36]), (2, [30])], 5, [("", "1", {}, []), ("shootout_goal", "1", {}, [])]),
        ([(5, [36]), (2, [26])], 5, [("", "1", {}, []), ("shootout_miss", "1", {}, [])]),
        ([(8, [41])], 2, [("red_card", "1", {}, [])]),
        ([(8, [40, 41])], 2, [("card", "1", {"card": "second_yellow"}, [])]),
        ([(4, [])], 2, [("foul", "2", {}, [])]),
        ([(7, [19]), (7, [19])], 2, [("half_end", "1", {}, []), ("", "1", {}, [])]),
        (
            [(9, [45]), (9, [44]), (9, [])],
            2,
            [("dribble", "1", {}, []), ("tackle", "1", {}, []), ("duel", "1", {}, [])],
        ),
    ],
)
def test_rows_of_metrica(rows, period, expected):
    assert [told(row) for row in of_metrica(*rows, period=period)] == expected


def of_opta(*events: str) -> list[Row]:
    lineups = ElementTree.fromstring(
        '<SoccerFeed><SoccerDocument><MatchData><TeamData Side="Home" TeamRef="t1"/>'
        '<TeamData Side="Away" TeamRef="t2"/></MatchData></SoccerDocument></SoccerFeed>'
    )
    start = 'type_id="32" period_id="{0}" min="{1}" sec="0" team_id="1" timestamp="2024-01-15T20:00:00"'
    rows = [start.format(period, minute) for period, minute in ((2, 45), (5, 120))]
    texts = [
        f'<Event id="{n}" event_id="{n}" {text}' for n, text in enumerate([*(f"{row}/>" for row in rows), *events])
    ]
    root = ElementTree.fromstring(f"<Games><Game>{''.join(texts)}</Game></Games>")
    return list(opta_feeds.read_f24(root, lineups).rows)[2:]


def opta_event(kind: int, qualifiers: tuple[int, ...] = (), *, period: int = 2, outcome: int = 1) -> str:
    clock = 'min="121"' if period == 5 else 'min="50"'
    within = "".join(f'<Q qualifier_id="{qualifier}"/>' for qualifier in qualifiers)
    whose = 'team_id="1" player_id="11"'
    return f'type_id="{kind}" period_id="{period}" {clock} sec="3" {whose} outcome="{outcome}">{within}</Event>'


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([opta_event(16, (9,))], [("goal", "1", {"penalty": True}, [])]),
        ([opta_event(16, (28,))], [("own_goal", "1", {}, [])]),
        ([opta_event(16, (9,), period=5)], [("shootout_goal", "1", {}, [])]),
        ([opta_event(15, (9,), period=5)], [("shootout_miss", "1", {}, [])]),
        ([opta_event(17, (32,))], [("card", "1", {"card": "second_yellow"}, [])]),
        ([opta_event(17)], [("card", "1", {}, [])]),
        ([opta_event(4, (9,), outcome=0)], [("foul", "1", {}, [("penalty", "2")])]),
        ([opta_event(4, (9,), outcome=1)], [("", "1", {}, [])]),
        ([opta_event(27, (53,)), opta_event(27, (53,))], [("injury", "1", {}, []), ("", "1", {}, [])]),
        ([opta_event(76)], [("abandoned", "1", {}, [])]),
        ([opta_event(10, (94,))], [("block", "1", {}, [])]),
        ([opta_event(43)], [("", "1", {}, [])]),
    ],
)
def test_rows_of_opta(events, expected):
    assert [told(row) for row in of_opta(*events)] == expected


def test_london_is_an_hour_ahead_of_utc_in_summer():
    lineups = ElementTree.fromstring("<SoccerFeed/>")
    events = '<Event id="1" type_id="1" period_id="1" min="0" sec="0" timestamp="2024-{}-15T20:00:00.5"/>'
    root = ElementTree.fromstring(f"<Games><Game>{events.format('01')}{events.format('07')}</Game></Games>")
    times = [row.at for row in opta_feeds.read_f24(root, lineups).rows]

    assert [str(at) for at in times] == ["2024-01-15 20:00:00.500000+00:00", "2024-07-15 19:00:00.500000+00:00"]


def test_a_row_of_opta_that_was_mended_later_is_dated_by_its_clock():
    """Its time of day is that of the mending."""
    mended = 'type_id="1" period_id="2" min="50" sec="3" team_id="1" timestamp="2024-01-15T23:30:00"/>'
    (row,) = of_opta(mended)

    assert str(row.at) == "2024-01-15 20:05:03+00:00"

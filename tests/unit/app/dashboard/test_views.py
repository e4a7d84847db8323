"""The view models of the dashboard: pure functions over aggregates."""

import json
from datetime import UTC, datetime

import attrs
import jinja2
import pytest

from app.dashboard.feed import feed_items, label, marks
from app.dashboard.formats import number, rate, size
from app.dashboard.momentum import Momentum
from app.dashboard.rendering import (
    MATCH_REGIONS,
    MatchRegions,
    changed,
    environment_options,
    render_regions,
    templates_dir,
)
from app.dashboard.service import Throughput, service_state
from app.dashboard.timeline import CURVE_LEAST_MINUTES, CURVE_MINUTES, curve, sparkline
from app.dashboard.views import MatchPage, cards, match_card, match_page, match_url
from app.engagement.sides import match_sides
from app.engagement.views import metrics_view
from app.live import Message
from shards.reads.aggregates import MatchAggregates
from shards.reads.highlights import Highlight
from shards.snapshot import EndedTask, ShardSnapshot, StoreState
from tests.snapshots import snapshot

KICK_OFF = 1_705_327_200_000  # 2024-01-15T14:00:00Z
MINUTE = 60_000
NOW = datetime(2024, 1, 15, 14, 30, tzinfo=UTC)
TEAMS = {"home": {"id": "1", "name": "Al-Hilal"}, "away": {"id": "2", "name": "Al-Nassr"}}


def highlight(event_type: str, at_minute: int, /, *, team: str = "1", retracted: bool = False, **metadata: object):
    return Highlight(
        event_id=f"{event_type}-{at_minute}-{team}",
        event_type=event_type,
        timestamp=KICK_OFF + at_minute * MINUTE,
        team_id=team,
        player_id="10",
        metadata=json.dumps(metadata),
        retracted=retracted,
    )


KICKED_OFF = (highlight("match_start", 0, team=""),)
ENDED = (*KICKED_OFF, highlight("match_end", 29, team=""))


def of_late(team: str, count: int) -> tuple[tuple[int, str, int], ...]:
    """Events of a team in the last five minutes of the match below."""
    return ((KICK_OFF + 29 * MINUTE, team, count),)


def aggregates(**changes: object) -> MatchAggregates:
    standard = MatchAggregates(
        match_id="derby",
        total=110,
        first_ms=KICK_OFF,
        last_ms=KICK_OFF + 29 * MINUTE,
        last_received_ms=KICK_OFF + 29 * MINUTE,
        by_type_team=(("goal", "1", 2), ("own_goal", "1", 1), ("pass", "1", 60), ("pass", "2", 47)),
        by_minute=((KICK_OFF, 40), (KICK_OFF + MINUTE, 50), (KICK_OFF + 29 * MINUTE, 20)),
        curve=((KICK_OFF, "1", 53), (KICK_OFF + MINUTE, "2", 37), *of_late("1", 10), *of_late("2", 10)),
        start_metadata=json.dumps(TEAMS),
        highlights=(highlight("goal", 20, minute=20, player="Salem", assist={"name": "Malcom"}),),
        as_of_ms=KICK_OFF + 30 * MINUTE,
    )
    return attrs.evolve(standard, **changes)


def page(**changes: object) -> MatchPage:
    match = aggregates(**changes)
    return match_page(match, metrics_view(match))


def texts(html: str) -> str:
    return " ".join(html.split())


class TestCurve:
    def test_bars_lie_within_the_drawing_and_keep_every_count(self) -> None:
        timeline = curve([(KICK_OFF + i * MINUTE, i % 7 + 1) for i in range(95)])
        assert timeline.minutes == 95
        assert [bar.count for bar in timeline.bars] == [i % 7 + 1 for i in range(95)]
        for bar in timeline.bars:
            assert bar.x >= 0
            assert bar.x + bar.width <= 100
            assert bar.y + bar.height == pytest.approx(100, abs=0.01)

    def test_first_of_equally_busy_minutes_is_the_only_peak(self) -> None:
        timeline = curve([(KICK_OFF, 3), (KICK_OFF + MINUTE, 9), (KICK_OFF + 2 * MINUTE, 9)])
        assert [bar.peak for bar in timeline.bars] == [False, True, False]
        assert timeline.peak is not None
        assert timeline.peak.label == "14:01"

    def test_one_event_with_a_wrong_clock_does_not_hide_the_match(self) -> None:
        match = [(KICK_OFF + i * MINUTE, 10) for i in range(90)]
        wrong = (KICK_OFF + 20 * 60 * MINUTE, 1)
        timeline = curve([(0, 1), *match, wrong])
        assert timeline.start_ms == KICK_OFF
        assert len(timeline.bars) == 90
        assert timeline.left_out == 2

    def test_span_is_bounded_whatever_the_data(self) -> None:
        timeline = curve([(i * MINUTE, 1) for i in range(5000)])
        assert timeline.minutes == len(timeline.bars) == CURVE_MINUTES
        assert timeline.start_ms == (5000 - CURVE_MINUTES) * MINUTE

    def test_young_match_leaves_room_to_the_right(self) -> None:
        timeline = curve([(KICK_OFF, 5)])
        assert timeline.minutes == CURVE_LEAST_MINUTES
        assert timeline.bars[0].width < 100 / CURVE_LEAST_MINUTES

    def test_peak_periods_that_stand_out_lie_behind_their_bars(self) -> None:
        counts = [10] * 10 + [40, 50, 40] + [10] * 20 + [20] + [10] * 30 + [45]
        timeline = curve([(KICK_OFF + i * MINUTE, count) for i, count in enumerate(counts)])
        assert [(band.began, band.ended, band.count) for band in timeline.bands] == [
            ("14:10", "14:13", 130),
            ("15:04", "15:05", 45),
        ]
        for band in timeline.bands:
            behind = [bar for bar in timeline.bars if band.x <= bar.x < band.x + band.width]
            assert sum(bar.count for bar in behind) == band.count
            assert all(bar.in_peak for bar in behind)
        assert sum(bar.in_peak for bar in timeline.bars) == 4

    def test_peak_period_across_the_edge_of_the_span_is_cut_off_there(self) -> None:
        calm = [(KICK_OFF + i * MINUTE, 10) for i in range(10)]
        lively = [(KICK_OFF + (i + 10) * MINUTE, 100) for i in range(CURVE_MINUTES + 5)]
        (band,) = curve(calm + lively).bands
        assert (band.x, band.width) == (0, 100)

    def test_even_match_has_no_peak_period(self) -> None:
        assert curve([(KICK_OFF + i * MINUTE, 7) for i in range(20)]).bands == ()

    def test_no_events(self) -> None:
        assert curve([]).bars == ()
        assert curve([]).peak is None
        assert sparkline([]).bars == ()

    def test_sparkline_ends_with_the_last_minute(self) -> None:
        timeline = sparkline([(KICK_OFF + i * MINUTE, i + 1) for i in range(90)])
        assert [bar.count for bar in timeline.bars] == list(range(61, 91))
        assert timeline.bars[-1].x + timeline.bars[-1].width == pytest.approx(100, abs=1)


class TestFeed:
    def test_item_names_player_team_and_assist(self) -> None:
        match = aggregates()
        item = feed_items(match, match_sides(match.start_metadata))[0]
        assert (item.label, item.details) == ("Goal", ("Salem", "Al-Hilal", "assist Malcom"))
        assert item.minute.startswith("20")
        assert item.moment == "2024-01-15T14:20:00.000Z"

    def test_whistles_of_one_moment_stand_in_the_order_of_a_match(self) -> None:
        ends = [highlight(kind, 90) for kind in ("half_end", "goal", "match_end", "var_review")]
        begins = [highlight(kind, 0) for kind in ("match_start", "half_start")]
        items = feed_items(aggregates(highlights=(*ends, *begins)), None)
        assert [item.kind for item in items] == [
            "match_end",
            "half_end",
            "goal",
            "var_review",
            "half_start",
            "match_start",
        ]

    def test_item_falls_back_on_ids_and_time_of_day(self) -> None:
        item = feed_items(aggregates(highlights=(highlight("foul", 3, team="77"),)), None)[0]
        assert (item.minute, item.details) == ("14:03", ("10", "team 77"))

    @pytest.mark.parametrize("metadata", ["", "[]", "nonsense", '{"minute": "x", "player": [5], "assist": []}'])
    def test_metadata_that_is_not_understood_is_left_alone(self, metadata: str) -> None:
        odd = attrs.evolve(highlight("goal", 5), metadata=metadata)
        assert feed_items(aggregates(highlights=(odd,)), None)[0].details == ("10", "team 1")

    def test_a_number_of_thousands_of_digits_hides_nothing_beside_it(self) -> None:
        metadata = f'{{"n": {"9" * 5_000}, "player": "Salem", "minute": 7}}'
        odd = attrs.evolve(highlight("goal", 5), metadata=metadata)
        [item] = feed_items(aggregates(highlights=(odd,)), None)
        assert (item.minute[0], item.details[0]) == ("7", "Salem")

    def test_names_do_not_turn_round_what_stands_beside_them(self) -> None:
        environment = jinja2.Environment(**environment_options())
        html = environment.get_template("partials/match/feed.html").render(page=page())
        assert "<bdi>Salem</bdi> · <bdi>Al-Hilal</bdi> · <bdi>assist Malcom</bdi>" in html

    def test_marks_are_goals_and_cards_that_stand(self) -> None:
        match = aggregates(
            highlights=(
                highlight("red_card", 25),
                highlight("goal", 20, retracted=True),
                highlight("var_review", 15),
                highlight("goal", 10),
                highlight("goal", 5000),
            )
        )
        found = marks(match.highlights, curve(match.by_minute))
        assert [mark.kind for mark in found] == ["goal", "red"]
        assert found[0].x == pytest.approx(35)

    def test_marks_of_one_minute_do_not_cover_each_other(self) -> None:
        match = aggregates(highlights=tuple(highlight("goal", 10, team=str(i)) for i in range(5)))
        found = marks(match.highlights, curve(match.by_minute))
        assert [mark.row for mark in found] == [0, 1, 2]
        assert len({mark.y for mark in found}) == 3

    def test_an_own_goal_stands_under_the_side_that_it_counts_for(self) -> None:
        item = feed_items(aggregates(highlights=(highlight("own_goal", 3, team="1"),)), match_sides(json.dumps(TEAMS)))[
            0
        ]
        assert (item.label, item.details) == ("Own goal", ("10", "for Al-Nassr"))

    @pytest.mark.parametrize(
        ("event", "kind", "shown"),
        [
            (highlight("card", 3, card="second_yellow"), "red_card", "Second yellow card"),
            (highlight("card", 3, card="Red"), "red_card", "Red card"),
            (highlight("card", 3), "yellow_card", "Yellow card"),
            (highlight("goal", 3, penalty=True), "goal", "Goal from the spot"),
        ],
    )
    def test_cards_have_their_colour_and_penalties_are_told(self, event: Highlight, kind: str, shown: str) -> None:
        item = feed_items(aggregates(highlights=(event,)), None)[0]
        assert (item.kind, item.label) == (kind, shown)

    @pytest.mark.parametrize(
        ("metadata", "minute"),
        [
            ({"minute": "45+2"}, "45+2\u2032"),
            ({"minute": "47"}, "47\u2032"),
            ({"minute": 45.0}, "45\u2032"),
            ({"minute": 45, "added": 2}, "45+2\u2032"),
            ({"minute": 47, "period": 1}, "45+2\u2032"),
            ({"minute": 47, "period": 2}, "47\u2032"),
            ({"minute": "half past"}, "14:05"),
        ],
    )
    def test_minutes_are_read_as_people_write_them(self, metadata: dict[str, object], minute: str) -> None:
        assert feed_items(aggregates(highlights=(highlight("goal", 5, **metadata),)), None)[0].minute == minute

    def test_a_long_name_is_cut_and_a_blank_one_is_none(self) -> None:
        goals = tuple(highlight("goal", 5, player=name) for name in ("x" * 500, "\u200b\u200b "))
        long, blank = (feed_items(aggregates(highlights=(goal,)), None)[0].details[0] for goal in goals)
        assert (len(long), long[-1], blank) == (60, "\u2026", "10")

    def test_labels(self) -> None:
        assert [label(t) for t in ("yellow_card", "var_review", "made_up")] == [
            "Yellow card",
            "VAR review",
            "Made up",
        ]


class TestMomentum:
    def of(self, *curve: tuple[int, str, int], **changes: object) -> Momentum | None:
        return page(curve=curve, **changes).momentum

    def test_parts_are_those_of_the_score_whoever_leads(self) -> None:
        momentum = self.of(*of_late("2", 15), *of_late("1", 5), (KICK_OFF, "1", 500))
        assert momentum is not None
        assert momentum.span == "14:25\u201314:30"
        assert not momentum.named
        assert [(part.name, part.x, part.width, part.leads) for part in momentum.parts] == [
            ("Al-Hilal", 0, 25, False),
            ("Al-Nassr", 25, 75, True),
        ]
        assert momentum.spoken == (
            "Momentum from 14:25 to 14:30, by events of the teams: most by Al-Nassr; "
            "Al-Hilal 25\u202f%, Al-Nassr 75\u202f%."
        )

    def test_nobody_leads_where_both_did_the_same(self) -> None:
        momentum = self.of(*of_late("1", 8), *of_late("2", 8))
        assert momentum is not None
        assert not any(part.leads for part in momentum.parts)
        assert "level; Al-Hilal 50" in momentum.spoken

    def test_who_did_nothing_is_told_so(self) -> None:
        momentum = self.of(*of_late("2", 8))
        assert momentum is not None
        assert [part.percent for part in momentum.parts] == ["0\u202f%", "100\u202f%"]

    def test_without_sides_teams_are_named_and_stay_where_they_are(self) -> None:
        for most, least in (("A", "B"), ("B", "A")):
            momentum = self.of(*of_late(most, 9), *of_late(least, 3), *of_late("C", 2), start_metadata="")
            assert momentum is not None
            assert momentum.named
            assert [part.name for part in momentum.parts] == ["Team A", "Team B", "others"]
            assert sum(part.width for part in momentum.parts) == pytest.approx(100, abs=0.1)

    def test_fans_alone_have_no_momentum(self) -> None:
        quiet = self.of((KICK_OFF, "1", 4), *of_late("", 90))
        assert quiet is not None
        assert quiet.parts == ()
        assert quiet.spoken.endswith("by events of the teams: none.")
        assert self.of(*of_late("", 90)) is None


class TestMatchPage:
    def test_headline_counts_the_own_goal_for_the_other_side(self) -> None:
        assert page().headline.title == "Al-Hilal 2:1 Al-Nassr"
        assert page().headline.spoken == "Al-Hilal 2, Al-Nassr 1"

    def test_without_sides_the_match_id_is_the_headline(self) -> None:
        headline = page(start_metadata="").headline
        assert (headline.home, headline.title) == ("", "derby")

    def test_figures_are_those_of_the_api(self) -> None:
        figures = {figure.name: figure.value for figure in page().figures}
        assert figures["Events"] == "110"
        assert figures["Goals"] == "3"
        assert figures["Busiest minute"] == "50"

    def test_breakdown_keeps_every_event(self) -> None:
        by_type = tuple((f"type_{i}", "", i + 1) for i in range(40))
        total = sum(count for *_, count in by_type)
        shares = page(by_type_team=by_type, total=total).types
        assert sum(int(share.count) for share in shares) == total
        assert shares[-1].name == "28 others"
        assert max(share.width for share in shares) == 100

    def test_two_teams_of_one_name_stay_apart(self) -> None:
        names = {"home": {"id": "1", "name": "United"}, "away": {"id": "2", "name": "United"}}
        shares = page(start_metadata=json.dumps(names)).teams
        assert [share.name for share in shares] == ["United", "United (2)"]

    def test_teams_have_their_share_of_what_teams_did(self) -> None:
        shares = page(by_type_team=(("pass", "1", 30), ("pass", "2", 10), ("cheer", "", 500))).teams
        assert [(share.name, share.part) for share in shares] == [
            ("Al-Hilal", "75\u202f%"),
            ("Al-Nassr", "25\u202f%"),
        ]

    def test_summary_for_those_who_do_not_see_the_curve(self) -> None:
        assert page(by_minute=((KICK_OFF, 1), (KICK_OFF + MINUTE, 50), (KICK_OFF + 2 * MINUTE, 3))).curve_summary == (
            "Events a minute from 14:00 to 14:02; busiest minute 14:01 with 50 events, last minute 3. "
            "Peak periods: 14:01 to 14:02 with 50 events."
        )

    def test_pending_events_are_told(self) -> None:
        assert page(pending_events=12).state.note.startswith("12 more events")
        assert page().state.note == ""

    def test_finished_match_has_no_minute(self) -> None:
        assert page(course=KICKED_OFF).state.minute == "31\u2032"
        assert page(course=KICKED_OFF).state.label == "1st half"
        assert page(course=ENDED).state.minute == ""
        assert page(course=ENDED).state.label == "Full time"

    def test_a_match_that_went_quiet_is_not_called_full_time(self) -> None:
        state = page(course=KICKED_OFF, quiet_ms=80 * MINUTE, feed_received_ms=KICK_OFF + 9 * MINUTE).state
        assert (state.status, state.label) == ("finished", "No events since 14:09")

    @pytest.mark.parametrize("match_id", ["a/b", "a?b#c", "50%", "'\"><script>", "ä ö", "%2F"])
    def test_url_is_one_path_segment(self, match_id: str) -> None:
        assert match_url(match_id).startswith("/matches/")
        assert not set(match_url(match_id).removeprefix("/matches/")) & set("/?#<>\"' ")


class TestCards:
    def test_last_highlight_is_one_that_stands(self) -> None:
        match = aggregates(highlights=(highlight("goal", 21, retracted=True), highlight("penalty", 20)))
        card = match_card(match, metrics_view(match))
        assert card.last_highlight is not None
        assert card.last_highlight.label == "Penalty"

    def test_whistle_is_the_last_highlight_only_where_there_is_no_other(self) -> None:
        whistle, goal = highlight("match_end", 22), highlight("goal", 20)
        for highlights, shown in (((whistle, goal), "Goal"), ((whistle,), "Full time")):
            match = aggregates(highlights=highlights)
            card = match_card(match, metrics_view(match))
            assert card.last_highlight is not None
            assert card.last_highlight.label == shown

    def test_pace_is_that_of_the_last_minute_with_events_while_live_then_that_of_the_peak(self) -> None:
        paces = []
        for course in (KICKED_OFF, ENDED):
            match = aggregates(course=course)
            paces.append(match_card(match, metrics_view(match)).pace)
        assert paces == ["20 events at 14:29", "50 in the busiest minute"]

    def test_live_matches_come_first_in_the_order_given(self) -> None:
        matches = [aggregates(match_id=name, course=ENDED if name == "b" else KICKED_OFF) for name in "bca"]
        made = cards([(match, metrics_view(match)) for match in matches])
        assert [card.match_id for card in made] == ["c", "a", "b"]


def shard(*, stalled_s: float = 0.0, last_error: str = "", **counts: int) -> ShardSnapshot:
    """A shard that was sent 100 events; what became of them as told, the rest confirmed."""
    settled = {"pending": 0, "dead_lettered": 0, "requeued": 0, "discarded": 0, "damaged": 0, "unaccounted": 0} | counts
    return ShardSnapshot(
        index=0,
        appended=100,
        confirmed=100 - sum(settled.values()),
        depth=0,
        in_flight=0,
        unread=0,
        retries=0,
        wal_bytes=1024,
        wal_segments=1,
        oldest_unconfirmed_s=7.2,
        stalled_s=stalled_s,
        paused=None,
        retired=False,
        last_error=last_error,
        **settled,
    )


class TestService:
    @pytest.mark.parametrize(
        ("changes", "condition"),
        [
            ({}, "healthy"),
            ({"store": StoreState(kind="server", up=False, since=NOW, error="refused")}, "degraded"),
            ({"ended": (EndedTask(task="flusher", where="shard 0", since=NOW, reason="cancelled"),)}, "degraded"),
            ({"shards": (shard(pending=1, stalled_s=31.0),)}, "degraded"),
            ({"shards": (shard(pending=1, last_error="too many parts"),)}, "degraded"),
            ({"shards": (shard(unaccounted=1),)}, "degraded"),
            ({"shards": (shard(pending=1), shard(dead_lettered=1))}, "healthy"),
            ({"recovered": False, "refusal": "recovering"}, "failing"),
            ({"recovered": False, "refusal": "unreadable", "refusal_reason": "cannot be read"}, "failing"),
            ({"refusal": "stopping", "refusal_reason": "shutting down"}, "failing"),
            ({"refusal": "log_full", "refusal_reason": "no room"}, "failing"),
            ({"refusal": "disk_short", "refusal_reason": "no room"}, "failing"),
            ({"refusal": "log_failed", "refusal_reason": "no room"}, "failing"),
        ],
    )
    def test_condition(self, changes: dict[str, object], condition: str) -> None:
        assert service_state(snapshot(**changes), per_second=None, p99_ms=None).condition == condition

    def test_nothing_of_the_inside_is_shown(self) -> None:
        away = StoreState(kind="server", up=False, since=NOW, error="10.0.0.7:9000 refused user secret")
        assert "secret" not in str(service_state(snapshot(store=away), per_second=1, p99_ms=1))

    def test_figures_are_those_of_the_service_itself(self) -> None:
        state = service_state(snapshot(shard(pending=4)), per_second=12.6, p99_ms=98.72)
        assert {figure.name: figure.value for figure in state.figures} == {
            "Events a second": "13",
            "Answers, p99": "98.7 ms",
            "Lag": "7 s",
            "Backlog": "4",
            "Log on disk": "1.0 KiB",
            "ClickHouse": "up",
        }

    def test_clickhouse_is_not_blamed_for_the_log(self) -> None:
        state = service_state(snapshot(refusal="log_full", refusal_reason="no room"), per_second=None, p99_ms=None)
        assert (state.condition, state.figures[-1].kind) == ("failing", "healthy")

    def test_the_events_are_accounted_for(self) -> None:
        """What is always there, then what somebody or something had to bring about; all of it adds up."""
        sound = service_state(snapshot(shard(), shard()), per_second=None, p99_ms=None).accounting
        assert [(part.name, part.value) for part in sound] == [
            ("kept", "200"),
            ("confirmed", "200"),
            ("to be confirmed", "0"),
            ("dead letters", "0"),
        ]
        counts = {"pending": 4, "dead_lettered": 3, "requeued": 2, "discarded": 1, "damaged": 5, "unaccounted": 6}
        parts = service_state(snapshot(shard(**counts)), per_second=None, p99_ms=None).accounting
        assert [part.name for part in parts[4:]] == ["requeued", "discarded", "damaged", "unaccounted"]
        assert int(parts[0].value) == sum(int(part.value) for part in parts[1:])
        assert {part.name: part.kind for part in parts if part.kind} == {
            "dead letters": "degraded",
            "damaged": "failing",
            "unaccounted": "failing",
        }

    def test_throughput_is_that_of_the_last_seconds(self) -> None:
        seconds = iter(range(100))
        throughput = Throughput(monotonic=lambda: float(next(seconds)))
        throughput.sample(0)
        assert throughput.per_second is None
        for total in (10, 20, 30):
            throughput.sample(total)
        assert throughput.per_second == pytest.approx(10)
        for _ in range(20):
            throughput.sample(30)
        assert throughput.per_second == 0

    def test_formats(self) -> None:
        assert [size(n) for n in (0, 1023, 1024, 1536 << 20)] == ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]
        assert number(1_234_567).split("\u202f") == ["1", "234", "567"]
        assert [rate(x) for x in (0, 0.25, 9.94, 12.6)] == ["0", "0.2", "9.9", "13"]


class TestRendering:
    @pytest.fixture
    def environment(self) -> jinja2.Environment:
        return jinja2.Environment(**environment_options())

    def test_every_region_is_rendered_and_escaped(self, environment: jinja2.Environment) -> None:
        attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
        names = {"home": attack, "away": {"id": attack + "2", "name": attack}, "competition": attack}
        match = page(
            match_id=attack,
            start_metadata=json.dumps(names),
            by_type_team=((attack, attack, 1),),
            highlights=(highlight(attack, 5, team=attack, player=attack, assist=attack),),
        )
        regions = render_regions(environment, "match", {"page": match})
        assert tuple(regions) == MATCH_REGIONS
        html = "".join(regions.values())
        assert "&lt;script&gt;" in html
        assert "<script" not in html.lower()
        assert "<img" not in html
        assert "alert(1)</" not in html

    async def test_one_answer_is_rendered_once_for_all_viewers(self, environment: jinja2.Environment) -> None:
        match = aggregates()
        data = json.dumps(metrics_view(match)).encode()
        broadcast = Message(event="metrics", text=data, value=match)
        regions = MatchRegions(environment)
        rendered = await regions.render(broadcast)
        assert await regions.render(Message(event="metrics", text=data, value=match, id="entering")) is rendered
        later = Message(event="metrics", text=data, value=attrs.evolve(match, highlights=()))
        assert (await regions.render(later))["feed"] != rendered["feed"]

    def test_only_what_changed_is_sent(self, environment: jinja2.Environment) -> None:
        before = render_regions(environment, "match", {"page": page()})
        after = render_regions(environment, "match", {"page": page(pending_events=3)})
        assert set(changed(after, since=before)) == {"state"}
        assert changed(after, since=after) == {}

    def test_no_template_has_inline_script_or_style(self) -> None:
        for path in templates_dir().rglob("*.html"):
            html = texts(path.read_text())
            assert "<style" not in html, path
            assert " style=" not in html, path
            assert html.count("<script") == html.count('<script type="module" src="{{ root }}/static/'), path
            assert "http://" not in html, path
            assert "https://" not in html, path


def test_who_recorded_the_match_is_named_with_its_data() -> None:
    recorded = aggregates(start_metadata=json.dumps({**TEAMS, "provider": "StatsBomb"}))
    metrics = metrics_view(recorded)

    assert match_page(recorded, metrics).provider == "StatsBomb"
    assert match_card(recorded, metrics).provider == "StatsBomb"

"""Simulated matches are the same for the same seed, valid for the service, and dated in the past."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from app.commands.simulate import Fixture, SendingPace, outgoing
from app.schemas.event_types import FAN_TYPES, MATCH_TYPES, TEAM_TYPES
from app.schemas.events import EventSchema, Origin
from app.sending.simulator import Moment, simulate_match
from shards.clock import ReceiptClock
from tests.course import Course
from tests.paths import ROOT

BASE = 60.0
KICKOFF_MS = 1_705_327_200_000
SECOND_YELLOW = "card"
DIGEST = """
import hashlib
from app.commands.simulate import Fixture, SendingPace
fixture = Fixture(seed=7, matches=2, minutes=90, fans_per_minute=10, knockout=True)
sent = fixture.schedule(kickoff_ms=1705327200000, pace=SendingPace())
print(hashlib.sha256(b"".join(event.body for _, event in sent)).hexdigest())
"""


@pytest.fixture(scope="module")
def matches() -> list[list[Moment]]:
    return [list(simulate(seed, fans_per_minute=BASE)) for seed in range(12)]


def simulate(seed: int, **options: float):
    return simulate_match(random.Random(seed), match_id=f"sim-{seed}", **options)


def test_the_same_seed_gives_the_same_match():
    assert list(simulate(3)) == list(simulate(3))
    assert list(simulate(3)) != list(simulate(4))


def test_the_same_seed_gives_the_same_bytes_in_every_process():
    """Also where strings are hashed otherwise, on which the order of a set depends."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(digests) == 1
    fixture = Fixture(seed=7, matches=2, minutes=90, fans_per_minute=10, knockout=True)
    sent = fixture.schedule(kickoff_ms=KICKOFF_MS, pace=SendingPace())
    assert digests == {hashlib.sha256(b"".join(event.body for _, event in sent)).hexdigest() + "\n"}


def test_the_teams_do_the_same_whatever_the_fans_do():
    assert Course.of(5, fans=0).play() == Course.of(5, fans=90).play()


def test_a_knockout_is_the_same_match_until_it_goes_on():
    for seed in range(5):
        league, cup = Course.of(seed).play()[1:-1], Course.of(seed, knockout=True).play()[1:]
        assert cup[: len(league)] == league


def test_fans_predict_before_kick_off_and_at_half_time(matches):
    for match in matches:
        (start_s, *_), (end_s, *_) = (
            [m.offset_s for m in match if m.event["eventType"] == kind] for kind in ("match_start", "half_end")
        )
        predictions = [m.offset_s for m in match if m.event["eventType"] == "prediction"]
        assert start_s == 0
        assert any(-300 <= at_s < 0 for at_s in predictions)
        assert any(end_s < at_s < end_s + 15 * 60 for at_s in predictions)


def test_every_event_is_valid_for_the_service(matches):
    schema = EventSchema(clock=ReceiptClock(), extra_types=[SECOND_YELLOW])
    known = MATCH_TYPES | TEAM_TYPES | FAN_TYPES | {"retraction", SECOND_YELLOW}

    for match in [*matches[:3], list(simulate(1, minutes=1)), list(simulate(2, minutes=600, fans_per_minute=0))]:
        for moment in match:
            event = schema.parse(outgoing(moment, KICKOFF_MS).body, origin=Origin())
            assert event.event_type in known
            if event.event_type in TEAM_TYPES:
                assert event.team_id
                assert event.player_id
                assert '"player"' in event.metadata


def test_event_ids_are_unique(matches):
    ids = [moment.event["eventId"] for match in matches for moment in match]

    assert len(set(ids)) == len(ids)


def test_a_fixture_merges_its_matches_by_time():
    fixture = Fixture(seed=1, matches=3, minutes=10, fans_per_minute=5)
    moments = list(fixture.moments())

    assert [m.offset_s for m in moments] == sorted(m.offset_s for m in moments)
    assert {m.event["matchId"] for m in moments} == set(fixture.match_ids()) == {"sim-1-1", "sim-1-2", "sim-1-3"}
    assert Counter(m.event["eventType"] for m in moments)["match_end"] == 3


def test_the_pace_is_the_matchs_clock_or_even():
    fixture = Fixture(seed=1, matches=1, minutes=10, fans_per_minute=5)
    offsets = [moment.offset_s for moment in fixture.moments()]
    by_clock = [due_s for due_s, _ in fixture.schedule(kickoff_ms=KICKOFF_MS, pace=SendingPace(speed=60))]
    evenly = [due_s for due_s, _ in fixture.schedule(kickoff_ms=KICKOFF_MS, pace=SendingPace(rate=50))]

    assert by_clock == pytest.approx([(offset_s - offsets[0]) / 60 for offset_s in offsets])
    assert evenly == pytest.approx([number / 50 for number in range(len(by_clock))])


@pytest.mark.parametrize("speed", [0.5, 1, 60])
@pytest.mark.parametrize("rate", [None, 0.5, 50])
def test_no_event_is_dated_ahead_of_the_moment_it_is_due(speed: float, rate: float | None):
    pace = SendingPace(speed=speed, rate=rate)
    fixture = Fixture(seed=3, matches=2, minutes=20, fans_per_minute=5)
    total, early_s = fixture.survey(pace)
    due = list(pace.due(fixture.moments()))
    ahead = [moment.offset_s - early_s - due_s for due_s, moment in due]

    assert total == len(due)
    assert max(ahead) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("speed", [1, 60, 5000])
def test_the_match_ends_when_the_run_ends(speed: float):
    fixture = Fixture(seed=3, matches=1, minutes=90, fans_per_minute=1)
    pace = SendingPace(speed=speed)
    _, early_s = fixture.survey(pace)
    (*_, (due_s, last)) = pace.due(fixture.moments())

    assert last.event["eventType"] == "match_end"
    assert last.offset_s - early_s == pytest.approx(due_s)


def test_matches_are_made_while_they_are_sent():
    """The first events of a thousand matches need no more than the first spells of each."""
    fixture = Fixture(seed=1, matches=1000, minutes=90, fans_per_minute=60)
    first = list(islice(fixture.moments(), 100))

    assert all(moment.offset_s < 0 for moment in first)

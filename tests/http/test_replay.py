"""``fanfinity replay`` as a user runs it, against the running service."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.bench.engines import Embedded
from tests.bench.service import Service
from tests.http.command import DEADLINE_S, Command, run
from tests.paths import DATA

KICKOFF = ("--kickoff", "2024-01-15T19:00:00Z")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path, Embedded(tmp_path)) as served:
        yield served


async def shown(served: Service, match_id: str, total: int) -> dict[str, object]:
    """The match's metrics once they show at least so many events."""
    async with asyncio.timeout(DEADLINE_S):
        while await served.total(match_id) < total:
            await asyncio.sleep(0.02)
    metrics = await served.metrics(match_id)
    assert metrics is not None
    return metrics


async def test_a_providers_match_is_sent_and_every_row_accounted_for(served: Service) -> None:
    pytest.importorskip("kloppy")
    ended = await run("replay", DATA / "made_up_event.json", "--url", served.url, *KICKOFF)

    assert ended.code == 0, ended.err
    assert "53 rows in the file = 38 sent + 15 left out; 5 events added" in ended.out
    assert "43 of 43 events" in ended.err
    assert re.search(r"Ball Receipt\* +no event type for it +1\b", ended.out)
    assert re.search(r"Own Goal For +two rows for one own goal +1\b", ended.out)
    assert re.search(r"Own Goal Against +own_goal +1\b", ended.out)
    assert "StatsBomb" in ended.out
    metrics = await shown(served, "made_up", 43)
    assert metrics["totalEvents"] == 43
    assert metrics["goals"] == 4
    assert metrics["score"] == {"home": 2, "away": 2}
    assert metrics["eventsByTeam"] == {"11": 17, "22": 18}
    assert (metrics["firstEventAt"], metrics["status"]) == ("2024-01-15T19:00:00.000Z", "finished")


async def test_without_kickoff_it_says_which_time_it_took(served: Service) -> None:
    pytest.importorskip("kloppy")
    ended = await run("replay", DATA / "made_up_event.json", "--url", served.url, "--match-id", "mine")

    assert ended.code == 0, ended.err
    assert "--kickoff" in ended.err
    assert (await shown(served, "mine", 43))["totalEvents"] == 43


async def test_faulty_rows_are_named_and_cost_no_neighbour(served: Service) -> None:
    ended = await run("replay", DATA / "made_up.ndjson", "--url", served.url)

    assert ended.code == 1
    assert "7 rows in the file = 5 sent + 1 left out + 1 rejected" in ended.out
    assert "line 7: not a JSON object" in ended.out
    assert re.search(r"moonwalk 0d0f3a9e-\S+: \$\.eventType: ", ended.out)
    metrics = await shown(served, "ndjson-1", 5)
    assert metrics["eventsByType"] == {"match_start": 1, "pass": 1, "cheer": 1, "goal": 1, "match_end": 1}
    assert metrics["score"] == {"home": 0, "away": 1}


async def test_stopped_by_ctrl_c_and_run_again_nothing_is_counted_twice(served: Service) -> None:
    """At 30 times the speed the first five are sent within a second, the whole takes four minutes."""
    pytest.importorskip("kloppy")
    arguments = ("replay", DATA / "made_up_event.json", "--url", served.url, *KICKOFF)
    command = await Command.start(*arguments, "--speed", 30)
    await shown(served, "made_up", 5)
    command.interrupt()
    ended = await command.ended()

    assert ended.code == 130
    assert "Stopped by Ctrl-C" in ended.out
    found = re.search(r"53 rows in the file = (\d+) sent \+ 15 left out \+ (\d+) not sent", ended.out)
    assert found is not None, ended.out
    assert int(found[1]) + int(found[2]) == 38
    assert (await run(*arguments)).code == 0
    assert (await shown(served, "made_up", 43))["totalEvents"] == 43


@pytest.mark.parametrize("speed", [None, 3600])
async def test_with_kickoff_now_the_match_ends_when_the_run_ends(served: Service, speed: int | None) -> None:
    """Nothing is dated ahead of the clock. The match takes nearly two hours, the run two seconds."""
    pytest.importorskip("kloppy")
    options = ("--speed", speed) if speed else ()
    began = datetime.now(UTC)
    file = DATA / "made_up_event.json"
    ended = await run("replay", file, "--url", served.url, "--kickoff", "now", "--match-id", "now", *options)
    over = datetime.now(UTC)

    assert ended.code == 0, ended.err
    metrics = await shown(served, "now", 43)
    first, last = (datetime.fromisoformat(str(metrics[name])) for name in ("firstEventAt", "lastEventAt"))
    assert began <= last <= over
    assert last - first == timedelta(minutes=46, seconds=15.25) + timedelta(minutes=15 + 48 + 5, seconds=80)


async def test_events_of_a_match_that_is_known_are_asked_for_and_told() -> None:
    """A small service that knows the match, and of its events the first."""
    queries: list[dict[str, str]] = []

    async def take(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        sent = await request.json()
        return web.json_response({"errors": [], "alreadyKnown": [sent[0]["eventId"]]})

    async def metrics(_: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.post("/api/events", take), web.get("/api/matches/ndjson-1/metrics", metrics)])
    async with TestServer(app) as server:
        ended = await run("replay", DATA / "made_up.ndjson", "--url", str(server.make_url("")))

    assert queries == [{"ack": "stored"}]
    assert "1 already known, not changed" in ended.out


async def test_a_match_sent_again_changes_nothing(served: Service) -> None:
    arguments = ("replay", DATA / "made_up.ndjson", "--url", served.url)
    before = [(await run(*arguments)).code, (await shown(served, "ndjson-1", 5))["totalEvents"]]

    assert [(await run(*arguments)).code, (await shown(served, "ndjson-1", 5))["totalEvents"]] == before == [1, 5]


async def test_what_the_service_answers_can_be_replayed(served: Service, tmp_path: Path) -> None:
    await run("replay", DATA / "made_up.ndjson", "--url", served.url)
    await shown(served, "ndjson-1", 5)
    answer = tmp_path / "answer.json"
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/api/matches/ndjson-1/events") as reply:
        answer.write_bytes(await reply.read())
    ended = await run("replay", answer, "--url", served.url, "--match-id", "copy")

    assert ended.code == 0, ended.out
    assert "5 rows in the file = 5 sent + 0 left out" in ended.out
    assert (await shown(served, "copy", 5))["score"] == {"home": 0, "away": 1}


async def test_a_file_that_is_cut_off_is_said_to_be(served: Service, tmp_path: Path) -> None:
    pytest.importorskip("kloppy")
    content = (DATA / "made_up_event.json").read_bytes()
    (tmp_path / "half_event.json").write_bytes(content[: len(content) // 2])
    shutil.copy(DATA / "made_up_lineup.json", tmp_path / "half_lineup.json")
    ended = await run("replay", tmp_path / "half_event.json", "--url", served.url, *KICKOFF)

    assert ended.code == 0, ended.err
    assert "The file is cut off in the middle: what is whole of it is sent." in ended.out
    assert "match_end" not in ended.out


async def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended = await run("replay", DATA / "made_up.ndjson", "--url", url, "--give-up-after", 0.5)

    assert ended.code == 1
    assert f"gave up on {url}/api/events" in ended.out
    assert "trying again for up to" in ended.err
    assert "6 not sent" in ended.out


async def test_without_kloppy_it_says_what_to_install(tmp_path: Path) -> None:
    """A module of that name that cannot be imported stands for one that is not installed."""
    (tmp_path / "kloppy.py").write_text("raise ImportError('not here')\n")
    ended = await run("replay", DATA / "made_up_event.json", environment={"PYTHONPATH": str(tmp_path)})

    assert ended.code == 1
    assert "pip install 'fanfinity-analytics[providers]'" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("made_up.ndjson", "--kickoff", "2024-01-15T19:00:00"), "has no offset"),
        (("made_up.ndjson", "--kickoff", "soon"), "is not a time"),
        (("made_up.ndjson", *KICKOFF), "for files without a time of day"),
        (("made_up.ndjson", "--speed", "0"), "0"),
        (("missing.json",), "does not exist"),
        (("README.md",), "is a text, but neither JSON nor XML"),
        (("made_up_lineup.json",), "holds no events: replay the event file that it belongs to"),
        (("made_up_event.json", "--with", DATA / "made_up.ndjson"), "needs a StatsBomb line-up file"),
    ],
)
async def test_wrong_arguments_are_explained(arguments: tuple[str, ...], message: str) -> None:
    name, *options = arguments
    ended = await run("replay", DATA / name, *options)

    assert ended.code in (1, 2)
    assert message in ended.err
    assert "Traceback" not in ended.err

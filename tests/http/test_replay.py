"""``fanfinity replay`` as a user runs it, against the running service."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
        (("README.md",), "holds neither"),
    ],
)
async def test_wrong_arguments_are_explained(arguments: tuple[str, ...], message: str) -> None:
    name, *options = arguments
    ended = await run("replay", DATA / name, *options)

    assert ended.code in (1, 2)
    assert message in ended.err
    assert "Traceback" not in ended.err

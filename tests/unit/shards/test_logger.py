"""What a process sees that uses `shards` and configures no structlog; repeated lines, and states that flutter."""

import asyncio
import subprocess
import sys

import pytest

from shards import logger
from shards.logger import EDGES_MAX, EDGES_S, Edges, RepeatedLines, without_figures
from tests.paths import ROOT

SAYS = """
import logging
from shards.logger import get_logger

log = get_logger("shards.some.part")
log.info("too quiet by default", shard=1)
log.warning("rows sent again", shard=1, rows=12)
logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level="INFO")
log.info("rows sent again", shard=2)
"""


def test_without_structlog_configured_lines_go_where_those_of_logging_go() -> None:
    ran = subprocess.run([sys.executable, "-c", SAYS], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout == ""
    first, second = ran.stderr.splitlines()
    assert "rows sent again" in first
    assert "rows=12 shard=1" in first
    assert second.startswith("INFO shards.some.part ")
    assert "shard=2" in second


async def test_lines_of_one_kind_are_one_line_and_a_summary_each_interval() -> None:
    told: list[tuple[str, int]] = []

    def tell(name: str) -> None:
        repeats.note("away", lambda again: told.append((name, again)))

    repeats = RepeatedLines(interval_s=0.2)
    for number in range(1000):
        tell(f"reader {number}")
    assert told == [("reader 0", 0)]
    await asyncio.sleep(0.3)
    assert told == [("reader 0", 0), ("reader 999", 998)], "the last of them tells how many were left out before it"
    await asyncio.sleep(0.3)
    assert len(told) == 2, "nothing more came"
    tell("later")
    assert told[2:] == [("later", 0)]


async def test_another_kind_is_told_at_once_after_what_was_counted() -> None:
    told: list[tuple[str, int]] = []
    repeats = RepeatedLines()
    for kind in ("refused", "refused", "refused", "slow", "refused"):
        repeats.note(kind, lambda again, kind=kind: told.append((kind, again)))
    assert told == [("refused", 0), ("refused", 1), ("slow", 0), ("refused", 0)]
    repeats.note("refused", lambda again: told.append(("last", again)))
    repeats.end()
    assert told[4:] == [("last", 0)]
    repeats.note("refused", lambda again: told.append(("anew", again)))
    assert told[5:] == [("anew", 0)], "the state was over"


def test_figures_do_not_make_another_text() -> None:
    assert without_figures("3 of 10 rows") == without_figures("12 of 9 rows")
    assert without_figures("rows") != without_figures("columns")


def test_a_state_that_flutters_is_told_a_few_times_and_in_the_end_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(logger, "monotonic", lambda: now)
    edges = Edges("")
    assert not edges.is_news("")
    told = [state for state in ("full", "") * 50 if edges.is_news(state)]
    assert told == ["full", ""] * (EDGES_MAX // 2)
    assert not edges.is_news("full")
    now += EDGES_S
    assert edges.is_news("full")
    assert not edges.is_news("full")

"""The file of what operators did, on a real disk."""

import asyncio
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from app.access import acts as acts_module
from app.access import seals
from app.access.acts import BEFORE_NAME, FILE_NAME, Acts
from app.web import admin_token
from shards.wal.closing import close_to_others
from tests.logged import lines_of

pytestmark = pytest.mark.asyncio


async def _keep(acts: Acts, subject: str) -> None:
    await acts.keep(who="somebody", address="192.0.2.1", request_id="r", act="pause", subject=subject)


async def _subjects(acts: Acts, limit: int = 100) -> list[str]:
    return [act["subject"] for act in await acts.latest(limit)]


async def test_a_new_process_goes_on_behind_a_line_that_was_torn(tmp_path: Path) -> None:
    await _keep(Acts(tmp_path), "shard 1")
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"at":"2026-')
    acts = Acts(tmp_path)
    assert await _subjects(acts) == ["shard 1"]
    await _keep(acts, "shard 2")
    assert await _subjects(Acts(tmp_path)) == ["shard 2", "shard 1"]


@pytest.mark.parametrize("damage", [b"\x00" * 40, b"{}", b'{"at":1}', b"\xff"])
async def test_a_line_that_cannot_be_read_hides_no_other(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    acts = Acts(tmp_path)
    await _keep(acts, "shard 1")
    path = tmp_path / FILE_NAME
    path.write_bytes(damage + b"\n" + path.read_bytes() + damage + b"\n")
    await _keep(acts, "shard 2")
    assert await _subjects(acts) == ["shard 2", "shard 1"]
    assert await _subjects(acts, 1) == ["shard 2"]
    assert [line["count"] for line in lines_of(caplog, "acts not readable")] == [2]


async def test_who_leaves_while_the_disk_works_makes_no_room_for_a_second_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts, at_work, going_on = Acts(tmp_path), threading.Event(), threading.Event()
    busy: list[int] = []
    plain = acts_module.LineFile.append

    def slow(self: Any, lines: bytes) -> int:
        busy.append(1)
        assert len(busy) == 1, "two threads write at once"
        at_work.set()
        assert going_on.wait(30)
        try:
            return plain(self, lines)
        finally:
            busy.pop()

    monkeypatch.setattr(acts_module.LineFile, "append", slow)
    first = asyncio.create_task(_keep(acts, "shard 1"))
    await asyncio.to_thread(at_work.wait, 30)
    first.cancel()
    second, reading = asyncio.create_task(_keep(acts, "shard 2")), asyncio.create_task(_subjects(acts))
    await asyncio.sleep(0.1)
    going_on.set()
    await asyncio.gather(first, second, reading, return_exceptions=True)
    assert second.exception() is None
    assert sorted(await _subjects(acts)) == ["shard 1", "shard 2"]


@pytest.mark.parametrize(
    "name", [FILE_NAME, BEFORE_NAME, seals.FILE_NAME, f"{seals.FILE_NAME}.new", admin_token.FILE_NAME]
)
async def test_what_the_application_keeps_in_the_directory_is_no_strangers(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a directory that was open to others would be left open, because somebody else seems to use it."""
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    file = tmp_path / "data" / name
    file.touch()
    file.chmod(0o644)
    close_to_others(tmp_path / "data")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o700, 0o600]
    assert not lines_of(caplog, "data directory open to others")

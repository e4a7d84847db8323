"""The file of keys while the service runs."""

import asyncio
import os
from pathlib import Path

import pytest

from app.access import keyring as keyring_module
from app.access.keyring import Keyring, KeysFileError
from app.access.keys import ApiKey
from app.access.principal import Scope
from shards import Observer, Watch
from tests.logged import lines_of

pytestmark = pytest.mark.asyncio


def _made(name: str) -> tuple[str, str]:
    text, key = ApiKey.new(name, [Scope.INGEST])
    return text, key.line()


async def _until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_without_keys_none_are_required_and_nothing_is_looked_at() -> None:
    ring = Keyring()
    ring.start(Watch(Observer()))
    assert not ring.required
    assert not ring.look()
    await ring.close()


async def test_a_file_needs_keys_even_while_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# none yet\n")
    assert Keyring((), path).required


@pytest.mark.parametrize("content", [None, b"feed:ingest", b"\xff", b"#" * (2 << 20)])
async def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeysFileError):
        Keyring((), path)


async def test_the_file_is_looked_at_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "LOOK_EVERY_S", 0.01)
    path = tmp_path / "keys"
    (one, one_line), (other, other_line) = _made("one"), _made("other")
    path.write_text(one_line)
    ring = Keyring((), path)
    ring.start(Watch(Observer()))
    path.write_text(f"{one_line}\n{other_line}\n")
    await _until(lambda: ring.find(other))
    assert ring.find(one)
    path.write_text(other_line)
    await _until(lambda: not ring.find(one))
    assert ring.find(other)
    await ring.close()


async def test_a_file_that_cannot_be_read_any_more_leaves_the_keys_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    (one, line), (other, other_line) = _made("one"), _made("other")
    path.write_text(line)
    ring = Keyring((), path)
    ring.start(Watch(Observer()))
    caplog.set_level("INFO")
    for damage in (path.unlink, lambda: path.write_text("one:ingest"), lambda: path.write_bytes(b"\xff")):
        before = ring.trouble
        damage()
        assert ring.look()
        await _until(lambda before=before: ring.trouble not in ("", before))
        assert ring.find(one)
        assert one not in caplog.text
    path.write_text(other_line)
    ring.look()
    await _until(lambda: ring.find(other))
    assert not ring.find(one)
    assert ring.trouble == ""
    assert [entry["event"] for entry in lines_of(caplog)][-1] == "keys can be read again"
    await ring.close()


async def test_a_pipe_in_the_place_of_the_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    one, line = _made("one")
    path.write_text("")
    ring = Keyring((), path)
    ring.start(Watch(Observer()))
    path.unlink()
    os.mkfifo(path)
    ring.look()
    await _until(lambda: "no regular file" in ring.trouble)
    path.unlink()
    path.write_text(line)
    ring.look()
    await _until(lambda: ring.find(one))
    await ring.close()


async def test_a_file_as_editors_of_windows_write_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    one, line = _made("one")
    path.write_bytes(b"\xef\xbb\xbf" + f"{line}\r\n".encode())
    assert Keyring((), path).find(one)


async def test_a_file_that_holds_no_key_any_more_is_told_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    one, line = _made("one")
    path.write_text(line)
    ring = Keyring((), path)
    ring.start(Watch(Observer()))
    path.write_text("")
    ring.look()
    await _until(lambda: not ring.find(one))
    assert [(entry["event"], entry["level"]) for entry in lines_of(caplog)] == [("keys read", "warning")]
    await ring.close()


async def test_a_time_that_is_over_ends_a_key(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    text, key = ApiKey.new("old", [Scope.INGEST], until=datetime(2020, 1, 1, tzinfo=UTC))
    ring = Keyring([key])
    assert ring.find(text) == key
    assert not ring.in_force(key)

"""The recorder of system calls notes what really happens: compared with strace, call by call."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.power.strace import Seen, calls_in, traced
from tests.syscalls import Killed, Operation, Recorder

no_strace = pytest.mark.skipif(
    shutil.which("strace") is None and os.environ.get("CI") != "true", reason="strace is not installed"
)


def _without_reading(seen: list[Seen]) -> list[Seen]:
    """Leave out the closing of files that were only read, because `open` closes them past `os`."""
    written: set[str] = set()
    kept: list[Seen] = []
    for call in seen:
        written |= {call[1]} if call[0] == "open" else set()
        if call[0] != "close" or call[1] in written:
            kept.append(call)
        written -= {call[1]} if call[0] == "close" else set()
    return kept


@no_strace
def test_the_recorder_notes_what_strace_sees(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    printed = traced([sys.executable, "-m", "tests.power.traced", str(root)], tmp_path / "trace")
    noted = [
        ("open" if call == "create" else call, path, target, bytes.fromhex(data), bool(error))
        for call, path, target, data, error in json.loads(printed)
    ]
    seen = _without_reading(calls_in((tmp_path / "trace").read_text(), root))
    assert len([call for call in seen if call[0] not in ("open", "close")]) > 60
    assert _without_reading(noted) == seen


def test_a_call_that_fails_is_noted_and_not_made(tmp_path: Path) -> None:
    def refuse(operation: Operation) -> int | None:
        if operation.call == "fsync":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return 2 if operation.call == "write" else None

    with Recorder(tmp_path, inject=refuse) as calls:
        fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
        assert os.write(fd, b"abcd") == 2
        with pytest.raises(OSError, match="Input/output error"):
            os.fsync(fd)
        os.close(fd)
    assert calls.short() == ["create file", "write file", "fsync file (EIO)", "close file"]
    assert calls.operations[1].data == (tmp_path / "file").read_bytes() == b"ab"


def test_nothing_is_written_after_a_kill(tmp_path: Path) -> None:
    def kill(operation: Operation) -> None:
        if operation.call == "fsync":
            raise Killed

    with Recorder(tmp_path, inject=kill) as calls:
        fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
        try:
            with pytest.raises(Killed):
                os.fsync(fd)
            with pytest.raises(Killed):
                os.write(fd, b"abcd")
            with pytest.raises(Killed):
                (tmp_path / "file").unlink()
        finally:
            os.close(fd)
        assert (tmp_path / "file").read_bytes() == b""
    assert calls.short() == ["create file"]
    assert calls.open_paths == []


def test_a_file_keeps_its_number_under_another_name(tmp_path: Path) -> None:
    with Recorder(tmp_path) as calls:
        for _ in range(3):
            os.close(os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT))
            (tmp_path / "a").replace(tmp_path / "b")
    created = [operation.file for operation in calls.operations if operation.call == "create"]
    renamed = [operation.file for operation in calls.operations if operation.call == "rename"]
    assert created == renamed
    assert len(set(created)) == 3


def test_what_is_not_recorded_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path):
        with pytest.raises(AssertionError, match="opened for writing"):
            (tmp_path / "file").write_text("")
        with pytest.raises(AssertionError, match="not recorded"):
            (tmp_path / "b").symlink_to("a")
    (tmp_path / "file").write_text("")
    assert (tmp_path / "file").exists()


def test_outside_of_the_root_nothing_is_noted(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with Recorder(tmp_path / "root") as calls:
        (tmp_path / "rooted").write_text("x")
        (tmp_path / "rooted").replace(tmp_path / "other")
        (tmp_path / "other").unlink()
    assert calls.operations == []

"""The models of a file system: which states a power failure may leave, by rules that are written down."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.power.disk import MODELS, SECTOR, Disk, Model, State
from tests.syscalls import Operation, Recorder

A, B, C = b"a" * 300, b"b" * 300, b"c" * SECTOR


def _left(model: Model, work: Callable[[Path], None], root: Path, *, failing: int = -1) -> list[State]:
    """Return the states that power may leave behind ``work``; the sync number ``failing`` of it fails."""
    syncs = iter(range(100))

    def inject(operation: Operation) -> None:
        if operation.call in ("fsync", "fdatasync") and next(syncs) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Recorder(root, inject=inject) as calls:
        work(root)
    disk = Disk({}, model)
    for operation in calls.operations:
        disk.take(operation)
    seen = {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))
    }
    assert disk.now == seen, "the model has other files than the disk"
    states, is_all = disk.all_states(limit=10_000)
    assert is_all
    assert seen in states, "power may also leave all as it is"
    return [dict(state) for state in {tuple(sorted(state.items())) for state in states}]


def _write(path: Path, *parts: bytes, sync: bool = False, mode: int = os.O_APPEND) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | mode)
    for part in parts:
        os.write(fd, part)
    try:
        if sync:
            os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_there_that_was_not_synced(model: Model, tmp_path: Path) -> None:
    states = _left(model, lambda root: _write(root / "f", A), tmp_path)
    assert {} in states
    assert {"f": b""} in states
    assert {"f": A} in states


@pytest.mark.parametrize("model", MODELS)
def test_what_was_synced_is_there_with_its_name(model: Model, tmp_path: Path) -> None:
    def work(root: Path) -> None:
        _write(root / "f", A, sync=True)
        _sync(root)
        _write(root / "f", C)

    states = _left(model, work, tmp_path)
    contents = {state["f"] for state in states}
    assert all(content is not None and content.startswith(A) for content in contents)
    assert {A, A + C, (A + C)[:SECTOR]} <= contents
    with_zeros = any(content and content[SECTOR:] and not content[SECTOR:].strip(b"\0") for content in contents)
    assert with_zeros is (model == "posix")


def test_a_sync_of_a_file_brings_its_name_along_on_ext4_only(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        _write(root / "other", B)
        _write(root / "f", A, sync=True)

    (tmp_path / "ext4").mkdir()
    (tmp_path / "posix").mkdir()
    ext4, posix = _left("ext4", work, tmp_path / "ext4"), _left("posix", work, tmp_path / "posix")
    assert all(state["f"] == A and "other" in state for state in ext4)
    assert {} in posix
    assert {"f": A} in posix


@pytest.mark.parametrize("model", MODELS)
def test_names_change_in_order_or_each_by_itself(model: Model, tmp_path: Path) -> None:
    def work(root: Path) -> None:
        _write(root / "f", A, sync=True)
        _write(root / "g", B, sync=True)
        _sync(root)
        (root / "f").unlink()
        (root / "g").replace(root / "h")

    states = _left(model, work, tmp_path)
    in_order = [{"f": A, "g": B}, {"g": B}, {"h": B}]
    assert all(state in states for state in in_order)
    by_themselves = [{"f": A, "h": B}, {"f": A, "g": B, "h": B}, {}, {"g": B, "h": B}]
    assert all((state in states) is (model == "posix") for state in by_themselves)


@pytest.mark.parametrize("model", MODELS)
def test_after_a_failed_sync_another_one_proves_nothing_unless_it_is_written_again(
    model: Model, tmp_path: Path
) -> None:
    def work(root: Path) -> None:
        _write(root / "f", C, sync=True)
        _write(root / "f", A, sync=True)  # fails
        _sync(root / "f")
        _sync(root)

    def again(root: Path) -> None:
        work(root)
        fd = os.open(root / "f", os.O_WRONLY)
        os.pwrite(fd, C + A, 0)
        os.fsync(fd)
        os.close(fd)

    (tmp_path / "once").mkdir()
    (tmp_path / "again").mkdir()
    contents = {state["f"] for state in _left(model, work, tmp_path / "once", failing=1)}
    assert {C, C + bytes(300), C + A} <= contents
    assert all(content is not None and content.startswith(C) for content in contents)
    assert _left(model, again, tmp_path / "again", failing=1) == [{"f": C + A}]


@pytest.mark.parametrize("model", MODELS)
def test_the_same_bytes_in_place_leave_no_doubt_about_what_is_durable(model: Model, tmp_path: Path) -> None:
    def work(root: Path) -> None:
        _write(root / "f", C, A, sync=True)
        _sync(root)
        _write(root / "f", C, A, mode=0)

    assert _left(model, work, tmp_path) == [{"f": C + A}]


@pytest.mark.parametrize("model", MODELS)
def test_a_file_that_is_cut_and_written_anew_is_old_or_new_until_it_is_synced(model: Model, tmp_path: Path) -> None:
    def work(root: Path) -> None:
        _write(root / "f", C, A, sync=True)
        _sync(root)
        fd = os.open(root / "f", os.O_WRONLY)
        os.ftruncate(fd, SECTOR)
        os.close(fd)
        _write(root / "f", B)

    contents = {state["f"] for state in _left(model, work, tmp_path)}
    assert {C + A, C, C + B} <= contents
    assert all(content is not None and content.startswith(C) for content in contents)


def test_a_directory_without_a_durable_name_takes_all_in_it_along(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        (root / "d").mkdir()
        _write(root / "d" / "f", A, sync=True)
        _sync(root / "d")

    assert {} in _left("posix", work, tmp_path)

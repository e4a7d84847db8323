"""A sync that is taken out of the code is noticed: the explorer is no test that cannot fail."""

from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.power.ablation import Sync, noticed, syncs

SOURCE = """
def replace(path, fd):
    os.fsync(
        fd,
    )
    sync_directory(path.parent)  # the name
    log.sync()
"""


def test_each_sync_is_found_and_taken_out_alone(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "files.py").write_text(SOURCE)
    found = list(syncs(tmp_path))
    assert [str(sync) for sync in found] == [
        "shards/files.py:3 os.fsync(fd)",
        "shards/files.py:6 sync_directory(path.parent)",
    ]
    assert found[1].taken_out_of(SOURCE) == SOURCE.replace("sync_directory(path.parent)", "None")
    assert found[0].taken_out_of(SOURCE).splitlines()[2] == "    None"


def _one(path: str, text: str) -> Sync:
    function, _, name = text.partition(" in ")
    found = [sync for sync in syncs() if str(sync.path) == path and sync.text == function]
    if not name:
        return found[0]
    source = (ROOT / path).read_text(encoding="utf-8")
    begin = source.encode().index(f"def {name}(".encode())
    return next(sync for sync in found if sync.start > begin)


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("shards/wal/segment.py", "os.fdatasync(self._fd)", "lost"),
        ("shards/wal/segment.py", "sync_directory(path.parent)", "lost"),
        ("shards/wal/files.py", "os.fsync(fd) in append", "evidence"),
        ("shards/wal/files.py", "os.fsync(fd) in replace_file", "id"),
    ],
)
def test_without_a_sync_something_is_wrong(path: str, text: str, kind: str) -> None:
    assert kind in noticed(_one(path, text))

"""The write-ahead log under random use: whatever happens to it, recovery gives what was acknowledged.

`WAL_EXAMPLES=2000` tries so many random ones, instead of the few that are always the same.
"""

import asyncio
import errno
import itertools
import os
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from shards.errors import WalFailed
from shards.events import Event, encode_row
from shards.observer import Observer
from shards.runs import runs_of, size
from shards.wal import committer
from shards.wal.committer import Committer
from shards.wal.log import ShardLog
from shards.wal.reader import LogReader
from shards.wal.record import HEADER_BYTES, RECORD_HEAD_BYTES, encode_records
from tests.unit.shards.wal.file_limit import largest_file

EXAMPLES = int(os.environ.get("WAL_EXAMPLES", "0"))
SEGMENT_BYTES = 1200

Rows = st.lists(st.integers(0, 300), min_size=1, max_size=8)
Share = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


class Log(ShardLog):
    """A log whose syncs fail when told to: the one thing that a real disk does not do on demand."""

    sync_fails = False

    def sync(self) -> None:
        if self.sync_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync()


IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where syncs take no time: what is shown here does not depend on a real disk."""


@attrs.frozen
class Place:
    """Where a record lies in a file."""

    seq: int
    start: int
    end: int


def places(content: bytes) -> list[Place]:
    """Read the records of a segment by the letter of its format, up to the first that is not whole."""
    found, start = [], HEADER_BYTES
    while len(content) >= start + RECORD_HEAD_BYTES:
        length, seq, unproven = struct.unpack_from("<IQI", content, start)
        end = start + RECORD_HEAD_BYTES + length
        payload = content[start + RECORD_HEAD_BYTES : end]
        if end > len(content) or not payload.endswith(b"}"):
            break
        if content[start:end] != encode_records(seq, [payload], proven=seq - unproven):
            break
        found.append(Place(seq, start, end))
        start = end
    return found


class LogMachine(RuleBasedStateMachine):
    """Uses a log as the service does, lets it crash and be damaged, and keeps its own list of what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=IN_MEMORY))
        self.loop = asyncio.Runner()
        self.numbers = itertools.count(1)
        self.handed: dict[bytes, int] = {}
        """Every row ever handed to the log, and in which order."""
        self.kept: dict[int, bytes] = {}
        """What must be there: acknowledged, or given back by a recovery."""
        self.upto = 0
        self.written_upto = 0
        self.beyond: set[int] = set()
        """What a checkpoint that was written says is confirmed, beyond what all before is done with."""
        self.damaged = 0
        self.gone: set[int] = set()
        """Numbers whose records are damaged, and reported so."""
        self.layout: dict[str, list[Place]] = {}
        """Where the records of damaged files were."""
        self.synced: dict[Path, int] = {}
        """How much of each file a sync stands for."""
        self.evidence: dict[str, bytes] = {}
        """Contents of the damaged files that must be kept, by name."""
        self.start()

    # What the machine is made of

    def start(self) -> None:
        self.log = Log(self.directory, shard=0, segment_max_bytes=SEGMENT_BYTES)
        self.recovery = self.log.recover()
        self.reader = LogReader(self.log, after_seq=self.log.checkpoint.upto)
        self.committer = Committer(sync="always", observer=Observer())
        self.loop.run(self._start_committer())

    async def _start_committer(self) -> None:
        self.committer.start()

    def stop(self) -> None:
        self.loop.run(self.committer.close())
        self.reader.close()
        self.log.close()

    def teardown(self) -> None:
        self.stop()
        self.loop.close()
        shutil.rmtree(self.directory)

    def files(self) -> list[Path]:
        return sorted(self.directory.glob("*.wal"))

    def rows(self, sizes: Sequence[int]) -> list[bytes]:
        """Make rows that no two of are equal."""
        made = []
        for number, length in zip(self.numbers, sizes, strict=False):
            metadata = '{"x":"%s"}' % ("y" * length)
            made.append(
                encode_row(Event(f"m{number % 3}", f"id-{number}", "pass", 1, "1", "", metadata, number, number))
            )
            self.handed[made[-1]] = number
        return made

    def submit(self, sizes: Sequence[int]) -> bool:
        """Send one request, alone: so that a run can be repeated. Note whether it was acknowledged, and return that."""
        rows = self.rows(sizes)

        async def send() -> int:
            return await self.committer.submit(self.log, rows, lambda *_: None)

        try:
            first = self.loop.run(send())
        except WalFailed:
            return False
        assert first == self.last + 1, "a number was used again, or left out"
        self.kept.update(enumerate(rows, first))
        self.synced[self.files()[-1]] = self.files()[-1].stat().st_size
        return True

    @property
    def last(self) -> int:
        return max(self.kept, default=self.upto)

    def restart(self, *, hit: Sequence[int] = ()) -> None:
        """Recover and compare; ``hit`` are numbers whose records were damaged meanwhile."""
        before = dict(self.kept)
        self.start()
        log, found = self.log, {}
        reader = LogReader(log, after_seq=log.checkpoint.upto)
        while records := reader.read(upto_seq=None, max_rows=5, max_bytes=1 << 20):
            for record in records:
                assert record.seq > max(found, default=log.checkpoint.upto), "a number came twice, or out of order"
                found[record.seq] = record.payload
        reader.close()

        passed_over = set(range(self.upto + 1, log.checkpoint.upto + 1)) - self.beyond
        assert passed_over <= set(hit), "done with, but nothing said so"
        # If the last checkpoint could not be written, what it would have said to be done with may count, too.
        damaged = log.checkpoint.damaged - self.damaged
        assert len(passed_over) <= damaged <= log.checkpoint.upto - self.written_upto
        assert self.handed.keys() >= set(found.values()), "an event that was never written"
        for seq, row in before.items():
            is_passed_over = seq in self.beyond and seq <= log.checkpoint.upto
            if seq > self.upto and seq not in hit and not is_passed_over:
                assert found.get(seq) == row, f"{seq} was acknowledged and is not there"
        beyond = {seq for seq in self.beyond if seq > log.checkpoint.upto}
        assert log.checkpoint.beyond == runs_of(tuple(beyond))
        assert all(found.get(seq, before[seq]) == before[seq] for seq in beyond), "a confirmed number is another row's"
        new = [self.handed[row] for seq, row in sorted(found.items()) if seq not in before]
        assert new == sorted(new), "not in the order in which they were written"
        assert log.durable_seq >= max(found.keys() | beyond, default=log.checkpoint.upto)
        assert size(self.recovery.damaged) == log.durable_seq - log.checkpoint.upto - len(found.keys() | beyond)
        assert self.recovery.pending.total() == len(found.keys() - beyond)
        missing = set(range(log.checkpoint.upto + 1, log.durable_seq + 1)) - found.keys()
        acknowledged = {seq for seq in before if seq > self.upto}
        assert missing & acknowledged <= set(hit), "missing, although nothing damaged it"
        self.upto = self.written_upto = log.checkpoint.upto
        self.beyond = beyond
        self.damaged = log.checkpoint.damaged
        self.kept = {seq: row for seq, row in before.items() if seq <= log.durable_seq} | found
        self.gone = missing
        self.synced = {path: path.stat().st_size for path in self.files()}
        self.layout = {path.name: self.layout[path.name] for path in self.files() if path.name in self.layout}

    # What may happen

    @rule(sizes=Rows)
    def append(self, sizes: list[int]) -> None:
        assert self.submit(sizes)

    @rule(sizes=Rows, room=st.integers(0, 600))
    def append_to_a_full_disk(self, sizes: list[int], room: int) -> None:
        files = self.files()
        with largest_file(room + (files[-1].stat().st_size if files and room % 2 else 0)):
            self.submit(sizes)

    @rule(sizes=Rows)
    def append_without_a_sync(self, sizes: list[int]) -> None:
        self.log.sync_fails = True
        assert not self.submit(sizes)
        self.log.sync_fails = False

    @rule(share=Share, ahead=st.sets(st.integers(2, 12), max_size=4))
    def checkpoint(self, share: float, ahead: set[int]) -> None:
        self.upto += int(share * (self.last - self.upto))
        known = self.beyond | {self.upto + step for step in ahead if self.upto + step in self.kept}
        self.beyond = {seq for seq in known if seq > self.upto}
        beyond = runs_of(tuple(self.beyond))
        self.log.truncate(attrs.evolve(self.log.checkpoint, upto=self.upto, beyond=beyond))
        self.written_upto = self.upto

    @rule(share=Share)
    def checkpoint_that_cannot_be_written(self, share: float) -> None:
        self.upto += int(share * (self.last - self.upto))
        with largest_file(0), pytest.raises(OSError, match="File too large"):
            self.log.truncate(attrs.evolve(self.log.checkpoint, upto=self.upto))

    @rule()
    def restart_in_good_order(self) -> None:
        self.stop()
        self.restart(hit=sorted(self.gone))

    @rule(sizes=Rows, share=Share, zeros=st.booleans())
    def crash_in_an_append(self, sizes: list[int], share: float, zeros: bool) -> None:
        """Power is cut before the sync: of what was written since the last one, any part may be there."""
        self.log.append(self.rows(sizes))
        self.stop()
        for path in self.files():
            size, synced = path.stat().st_size, self.synced.get(path, HEADER_BYTES)
            os.truncate(path, synced + int(share * max(0, size - synced)))
            if zeros:
                os.truncate(path, size)
        self.restart(hit=sorted(self.gone))

    @rule(which=Share, where=Share, bit=st.integers(0, 7), cut=st.booleans())
    def damage(self, which: float, where: float, bit: int, cut: bool) -> None:
        """One bit of one file is not as it was, or the file lost its end."""
        files = self.files()
        if not files:
            return
        self.stop()
        path = files[int(which * (len(files) - 1))]
        content = bytearray(path.read_bytes())
        position = int(where * (len(content) - 1))
        records = self.layout.setdefault(path.name, places(bytes(content)))
        if cut:
            del content[position:]
        else:
            content[position] ^= 1 << bit
        hit = {place.seq for place in records if place.end > position and (cut or place.start <= position)}
        path.write_bytes(content)
        self.restart(hit=sorted(hit | self.gone))
        self.evidence.pop(path.name, None)
        if len(content) > HEADER_BYTES and {place.seq for place in records} & self.gone:
            self.evidence[path.name] = bytes(content)  # otherwise it looks like a write that a crash cut off

    # What must hold, always

    @invariant()
    def what_is_read_is_what_was_acknowledged(self) -> None:
        self.reader.skip_to(self.upto)
        records = self.reader.read(upto_seq=self.log.durable_seq, max_rows=7, max_bytes=1 << 20)
        for record in records:
            assert self.kept[record.seq] == record.payload

    @invariant()
    def what_is_damaged_is_kept(self) -> None:
        for name, content in self.evidence.items():
            copies = [self.directory / name, *(self.directory / "damaged").glob(f"{Path(name).stem}-*")]
            assert content in [path.read_bytes() for path in copies if path.exists()], name


@pytest.mark.timeout(0 if EXAMPLES else 600)
def test_recovery_gives_what_was_acknowledged_whatever_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "SYNC_INTERVAL_S", 3600.0)  # nothing by the clock: each run must be the same
    plan = settings(
        max_examples=EXAMPLES or 40,
        stateful_step_count=30,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(LogMachine, settings=plan)

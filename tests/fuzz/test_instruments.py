"""The instruments of the fuzzer tell the truth: stands, processor time, memory, and what bodies are made of."""

import gzip
import json
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.schemas.events import EventSchema, Origin
from app.schemas.warnings import warnings_of
from shards.clock import ReceiptClock
from tests.faults.clock import NoCompiler
from tests.fuzz.cost import Cost, Limits, Meter, Worst
from tests.fuzz.hostile import kinds
from tests.fuzz.made import Made, Packing, Part, told
from tests.fuzz.shapes import Scale
from tests.fuzz.standing import Stand, Standing
from tests.fuzz.strategies import events
from tests.fuzz.wire import Chunks, Manner, Sent
from tests.torture import costs

LOOP = """
import asyncio, sys, time, uvloop

def spin(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass

async def main():
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.split():
            case "spin", seconds:
                spin(float(seconds))
            case "rounds", count, seconds:
                for _ in range(int(count)):
                    spin(float(seconds))
                    await asyncio.sleep(0)
            case "wait", seconds:
                time.sleep(float(seconds))
            case "thread", seconds:
                await loop.run_in_executor(None, spin, float(seconds))
            case "memory", size:
                bytearray(b"x") * int(size)
        await asyncio.sleep(0.01)
        print("done", flush=True)

uvloop.run(main())
"""


@attrs.frozen
class Loop:
    """An event loop of uvloop in a process of its own that does what it is told, and what is known of it."""

    process: subprocess.Popen[str]
    standing: Standing

    def do(self, command: str) -> Stand:
        """Have a command carried out, and return the longest stand meanwhile."""
        self.standing.begin()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        return self.standing.longest()

    def cost(self, command: str) -> Cost:
        """Have a command carried out, and return what it has cost."""
        meter = Meter(self.process.pid, self.standing)
        meter.begin()
        self.do(command)
        return meter.end(0.0)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    try:
        standing = Standing(tmp_path_factory.mktemp("loop"))
    except NoCompiler as error:
        pytest.skip(str(error))
    arguments = [sys.executable, "-c", LOOP]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, env=standing.environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Loop(process, standing)
    standing.close()


def test_a_stand_is_the_processor_time_between_two_rounds(loop: Loop) -> None:
    stand = loop.do("spin 0.1")
    assert 100 <= stand.cpu_ms < 190
    assert stand.held_ms >= 95
    assert loop.do("spin 0.01").cpu_ms < 100, "the stand before is not forgotten"


def test_what_is_done_in_many_rounds_is_no_stand(loop: Loop) -> None:
    before = loop.standing.rounds
    assert loop.do("rounds 50 0.004").cpu_ms < 100
    assert loop.standing.rounds - before >= 50


def test_a_loop_that_waits_uses_no_processor_and_is_held_all_the_same(loop: Loop) -> None:
    stand = loop.do("wait 0.2")
    assert stand.cpu_ms < 100
    assert stand.held_ms >= 190


def test_other_threads_count_in_the_processor_time_and_not_in_the_stand(loop: Loop) -> None:
    cost = loop.cost("thread 0.3")
    assert cost.cpu_s >= 0.3
    assert cost.stand.cpu_ms < 150


def test_memory_that_was_given_back_was_taken(loop: Loop) -> None:
    meter = Meter(loop.process.pid, loop.standing)
    before_mb = meter.resident_mb()
    assert 99 < loop.cost("memory 100000000").memory_mb < 150
    assert meter.resident_mb() < before_mb + 50
    assert loop.cost("spin 0.001").memory_mb < 50, "the memory before is not forgotten"


def test_limits_are_those_of_the_contract() -> None:
    limits = Limits()
    assert limits.cpu_s(10) == pytest.approx(7.05)
    assert limits.charged_mib(40, bulk=True) == 40
    assert limits.charged_mib(40, bulk=False) < 11, "what is not read does not pay"
    within = Cost(Stand(cpu_ms=50, held_ms=50), cpu_s=0.75, mib=1.0, memory_mb=256)
    assert list(within.faults(limits)) == []
    beyond = Cost(Stand(cpu_ms=51, held_ms=51), cpu_s=0.76, mib=1.0, memory_mb=257)
    assert len(list(beyond.faults(limits))) == 3
    assert len(list(attrs.evolve(within, stand=Stand(cpu_ms=5, held_ms=60)).faults(limits))) == 1
    assert list(beyond.least(within).faults(limits)) == []
    assert list(beyond.faults(Limits(factor=2))) == []


@settings(max_examples=100, deadline=None, database=None)
@given(st.one_of(*kinds(Scale(body_bytes=3_000, bulk_bytes=3_000, bomb_bytes=30_000, chunked_bytes=3_000)).values()))
def test_requests_are_told_in_short_and_are_as_large_as_they_say(sent: Sent) -> None:
    assert len(str(sent)) < 6_000
    if isinstance(sent.body, Made):
        assert len(bytes(Made(sent.body.parts))) == sent.body.unpacked_bytes


def test_a_body_is_packed_as_it_is_told() -> None:
    body = Made.of(b"[", Part(b'{"k%d":1},', 30_000, numbered=True), b"1]")
    whole = bytes(body)
    assert whole.startswith(b'[{"k0":1},{"k1":1},')
    packed = bytes(attrs.evolve(body, packing=Packing(encoding="gzip", members=3, empty=2, tail=b"\0\0")))
    assert gzip.decompress(packed) == whole
    assert packed.count(b"\x1f\x8b\x08") >= 5
    assert zlib.decompress(bytes(attrs.evolve(body, packing=Packing(encoding="deflate")))) == whole
    with pytest.raises(zlib.error):
        zlib.decompress(bytes(attrs.evolve(body, packing=Packing(encoding="deflate", cut_bytes=3))))
    assert repr(Made.of(b"[", Part(b"1,", 5_000_000), b"1]")) == "b'[' + 5000000 * b'1,' + b'1]'"
    assert told(b'a;"' + b"(" * 8_000) == "b'a;\"' + 8000 * b'('"


def test_requests_leave_in_their_manner() -> None:
    sent = Sent(method="POST", template="/api/events", target=b"/api/events", body=b"{}\n{}")
    whole = b"".join(sent.encode("h"))
    assert whole.endswith(b"\r\nContent-Length: 5\r\n\r\n{}\n{}")
    assert len(list(attrs.evolve(sent, manner=Manner(pieces=7)).encode("h"))) == 7
    assert b"".join(attrs.evolve(sent, manner=Manner(end="cut")).encode("h")) == whole[:-3]
    assert b"".join(attrs.evolve(sent, manner=Manner(pipelined=2)).encode("h")).count(b"HTTP/1.1") == 3
    chunks = Chunks(size_bytes=2, extension=b";a", trailers=b"A: b\r\n")
    assert b"".join(chunks.cut(b"{}\n{}")) == b"2;a\r\n{}\r\n2;a\r\n\n{\r\n1;a\r\n}\r\n0\r\nA: b\r\n\r\n"
    assert b"".join(attrs.evolve(chunks, broken_after=1, broken=b"zz").cut(b"{}\n{}")) == b"2;a\r\n{}\r\nzz"


def test_the_worst_of_a_kind_is_written_between_the_marks(tmp_path: Path) -> None:
    worst = Worst(requests=2)
    limits = Limits()
    worst.note(Cost(Stand(12, 14), 0.2, 1.0, 3), limits, "small")
    worst.note(Cost(Stand(40, 41), 0.3, 10.0, 30), limits, "large")
    assert (worst.stood_for, worst.paid_for) == ("large", "small")
    run = costs.Run(
        at=datetime(2026, 1, 1, tzinfo=UTC),
        seed=7,
        minutes=1,
        engine="server",
        machine={"Code": "abc"},
        worst={"nesting": worst},
        findings=0,
    )
    report = tmp_path / "report.md"
    report.write_text(f"before\n{costs.BEGIN}\nold\n{costs.END}\nafter\n", encoding="utf-8")
    costs.write(run, report)
    text = report.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| nesting | 2 | 40 ms | 41 ms | 0.200 s for 1.00 MiB: 27 % | 30 MB | 0 MB |" in text


def test_events_as_documented_are_taken_whatever_in_their_metadata_is_not_understood() -> None:
    schema, told = EventSchema(clock=ReceiptClock()), Counter[str]()

    @settings(max_examples=500, derandomize=True)
    @given(events())
    def check(event: dict[str, object]) -> None:
        taken = schema.parse(json.dumps(event).encode(), origin=Origin())
        told.update(warning.field for warning in warnings_of(taken.event_type, taken.metadata))

    check()
    assert {f"$.metadata.{name}" for name in ("minute", "period", "card", "player", "x", "penalty")} <= set(told)

"""Settling letters by hand: what is not durable is not said to be done, and nothing is cut off in its middle."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from shards.deadletters.file import DeadLetterFile
from shards.deadletters.settling import DeadLetters
from shards.errors import KeyChanged, LetterSettled, UnknownLetter, WalFailed
from shards.events import Event, decode_row, encode_row
from shards.receipts import Receipt, Stretch
from tests.logged import lines_of

FIRST = Event("m", "00000000-0000-0000-0000-000000000001", "goal", 1, "1", "", '{"bad":1}', 5, 5)


@attrs.define
class Appended:
    """Takes what is appended again, as soon as it may."""

    events: list[Event] = attrs.field(factory=list)
    may: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, events: Sequence[Event]) -> Receipt:
        await self.may.wait()
        self.events += events
        return Receipt("0" * 8, (Stretch(1, 9, 9, 1),))


@pytest.fixture
async def appended() -> Appended:
    made = Appended()
    made.may.set()
    return made


@pytest.fixture
async def letters(tmp_path: Path, appended: Appended) -> DeadLetters:
    file = DeadLetterFile(tmp_path / "deadletters" / "shard-000.jsonl", shard=0)
    await file.put_aside(seq=7, row=encode_row(FIRST), code=469, error="Constraint c")
    made = DeadLetters(appended, lambda match_id: False)
    made.take([file])
    return made


@pytest.mark.parametrize("action", ["requeue", "discard"])
async def test_a_settlement_that_the_disk_does_not_take_is_refused_and_the_letter_stays_open(
    letters: DeadLetters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, action: str
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(WalFailed, match=r"^Input/output error$"):
        await getattr(letters, action)("0-7")
    [line] = lines_of(caplog, "dead letter not settled")
    assert (line["level"], line["letter"], line["action"]) == (
        "error",
        "0-7",
        {"requeue": "requeued", "discard": "discarded"}[action],
    )
    assert (await letters.read("0-7")).settlement is None
    assert len(await letters.newest(limit=2)) == 1


async def test_a_letter_is_settled_once_and_tells_how(letters: DeadLetters, appended: Appended) -> None:
    settled = (await letters.requeue("0-7")).settlement
    assert settled is not None
    assert (settled.action, settled.again, decode_row(settled.row.encode())) == ("requeued", (1, 9), FIRST)
    for action in (letters.requeue, letters.discard):
        with pytest.raises(LetterSettled, match="dead letter 0-7: requeued"):
            await action("0-7")
    assert appended.events == [FIRST]
    assert await letters.newest(limit=2) == []
    assert len(await letters.newest(limit=2, settled=True)) == 1
    with pytest.raises(UnknownLetter):
        await letters.discard("0-8")


async def test_a_repaired_event_keeps_the_time_and_order_of_receipt(letters: DeadLetters, appended: Appended) -> None:
    await letters.requeue("0-7", attrs.evolve(FIRST, metadata="{}", received_ns=99, order_ns=98))
    assert appended.events == [attrs.evolve(FIRST, metadata="{}")]


@pytest.mark.parametrize("key", [{"match_id": "other"}, {"event_id": "00000000-0000-0000-0000-000000000002"}])
async def test_a_repair_that_would_count_as_another_event_is_refused(
    letters: DeadLetters, appended: Appended, key: dict[str, str]
) -> None:
    with pytest.raises(KeyChanged):
        await letters.requeue("0-7", attrs.evolve(FIRST, **key))
    assert appended.events == []
    assert (await letters.read("0-7")).settlement is None


async def test_who_leaves_does_not_cut_a_requeue_off_and_the_end_waits_for_it(
    letters: DeadLetters, appended: Appended
) -> None:
    appended.may.clear()
    asking = asyncio.create_task(letters.requeue("0-7"))
    while not letters._settling:
        await asyncio.sleep(0)
    with pytest.raises(LetterSettled, match="dead letter 0-7: being settled by another request"):
        await letters.discard("0-7")
    asking.cancel()
    closing = asyncio.create_task(letters.close())
    for _ in range(20):
        await asyncio.sleep(0)
    assert (asking.cancelled(), closing.done()) == (True, False)
    appended.may.set()
    await closing
    assert appended.events == [FIRST]
    assert (await letters.read("0-7")).settlement is not None


async def test_a_discarded_letter_says_so_and_is_appended_nowhere(letters: DeadLetters, appended: Appended) -> None:
    settled = (await letters.discard("0-7")).settlement
    assert settled is not None
    assert (settled.action, settled.again, settled.row, appended.events) == ("discarded", None, "", [])


async def test_the_end_waits_for_a_settlement_that_fails_and_does_not_fail_itself(
    letters: DeadLetters, appended: Appended, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    appended.may.clear()
    asking = asyncio.create_task(letters.requeue("0-7"))
    while not letters._settling:
        await asyncio.sleep(0)
    closing = asyncio.create_task(letters.close())
    await asyncio.sleep(0)
    monkeypatch.setattr(os, "fsync", broken)
    appended.may.set()
    await closing
    with pytest.raises(WalFailed):
        await asking

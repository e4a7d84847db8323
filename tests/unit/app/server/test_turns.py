"""Few requests of readers begin in a round of the event loop, in their order, and senders wait for none of them."""

import asyncio
import itertools

import attrs

from app.server.turns import ReadTurns

READ = b"GET /api/matches HTTP/1.1\r\n\r\n"


@attrs.define(eq=False)
class Reader:
    """A connection that notes when it goes on."""

    number: int
    begun: list[int]
    held: bool = False

    def hold(self) -> None:
        self.held = True

    def go_on(self, data: bytes) -> None:
        assert self.held
        assert data == READ
        self.begun.append(self.number)


async def test_few_begin_in_a_round_in_the_order_of_arrival() -> None:
    turns, begun = ReadTurns(4), list[int]()
    readers = [Reader(number, begun) for number in range(50)]
    at_once = [reader for reader in readers if not turns.defers(reader, READ)]
    assert [reader.number for reader in at_once] == [0, 1, 2, 3]
    assert not turns.defers(readers[0], b"POST /api/events HTTP/1.1\r\n")
    assert not turns.defers(readers[0], b"GET /ready HTTP/1.1\r\n")
    turns.forget(readers[7])
    seen = [0]
    for _ in range(30):
        await asyncio.sleep(0)
        seen.append(len(begun))
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 4
    assert begun == [number for number in range(4, 50) if number != 7]


async def test_who_comes_alone_begins_at_once() -> None:
    turns = ReadTurns(1)
    for number in range(5):
        assert not turns.defers(Reader(number, []), READ)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

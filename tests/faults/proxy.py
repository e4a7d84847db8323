"""A TCP proxy in front of the tests' ClickHouse that makes the network's faults: cuts, delays, a thin line.

It is a :class:`~tests.relay.Relay`, with that one's care for the tests' ClickHouse: connections are cut only
after a first answer went over them, and ClickHouse sees an orderly end, its last answer taken.
"""

import asyncio
import random
from contextlib import suppress

import attrs

from tests.relay import PIECE_BYTES, Relay, both_ways

INSERT = b"INSERT INTO "
CHECKPOINT = b"OPTIMIZE TABLE "
HELD_S = 30.0


@attrs.define
class Trap:
    """Waits for a statement and does something to its connection, once. ``sprung`` is set when that was done.

    Attributes:
        statement: how the statement begins.
        cut_request_at: cut after so many bytes of the statement, -1: not in the request.
        cut_answer_at: cut after so many bytes of the answer, -1: not in the answer.
        hold: do not pass the statement on before ``released`` is set; ClickHouse may be killed meanwhile.
    """

    statement: bytes
    cut_request_at: int = -1
    cut_answer_at: int = -1
    hold: bool = False
    sprung: asyncio.Event = attrs.field(factory=asyncio.Event)
    released: asyncio.Event = attrs.field(factory=asyncio.Event)


@attrs.define(eq=False)
class _Line:
    """One connection: both directions, and what was noticed on it."""

    client: asyncio.StreamReader
    to_client: asyncio.StreamWriter
    server: asyncio.StreamReader
    to_server: asyncio.StreamWriter
    answered: bool = False
    cut: bool = False
    cut_answer_at: int = -1

    def cut_client(self) -> None:
        """Let the client see a broken connection; what ClickHouse still says is read and thrown away."""
        self.cut = True
        self.to_client.transport.abort()


class Proxy(Relay):
    """Passes everything on until told otherwise.

    Attributes:
        delay_s: how long every piece takes longer.
        bytes_per_s: how much passes in a second; 0: any.
        refusals: by password, what who comes with it is answered, without ClickHouse being asked.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.refusals: dict[str, bytes] = {}
        self._traps: list[Trap] = []

    def set_trap(self, trap: Trap) -> Trap:
        """Have the next statement that fits fall into it."""
        self._traps.append(trap)
        return trap

    def clear(self) -> None:
        """End every fault; statements that are held go on."""
        self.delay_s, self.bytes_per_s = 0.0, 0
        for trap in self._traps:
            trap.released.set()
        self._traps.clear()

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            hello = await client.read(PIECE_BYTES)
        except OSError:
            return
        for password, answer in self.refusals.items():
            if password.encode() in hello:
                to_client.write(answer)
                to_client.close()
                return
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            to_client.transport.abort()
            return
        to_server.write(hello)
        line = _Line(client, to_client, server, to_server)
        await both_ways(self._pass_requests(line), self._pass_answers(line), to_client, to_server)

    async def _pass_requests(self, line: _Line) -> None:
        with suppress(OSError):
            while piece := await line.client.read(PIECE_BYTES):
                trap = self._trapped(line, piece)
                if trap is not None:
                    piece = await self._spring(trap, line, piece)
                await self._pace(len(piece))
                if line.to_server.transport.is_closing():
                    return
                line.to_server.write(piece)
                await line.to_server.drain()
                if line.cut:
                    return

    def _trapped(self, line: _Line, piece: bytes) -> Trap | None:
        for trap in self._traps if line.answered else ():
            if trap.statement in piece and not trap.sprung.is_set():
                return trap
        return None

    async def _spring(self, trap: Trap, line: _Line, piece: bytes) -> bytes:
        """Return what is to be passed on of the piece."""
        trap.sprung.set()
        if trap.hold:
            with suppress(TimeoutError):
                await asyncio.wait_for(trap.released.wait(), HELD_S)
        if trap.cut_answer_at >= 0:
            line.cut_answer_at = trap.cut_answer_at
        if trap.cut_request_at >= 0:
            piece = piece[: piece.index(trap.statement) + trap.cut_request_at]
            line.cut_client()
        return piece

    async def _pass_answers(self, line: _Line) -> None:
        with suppress(OSError):
            while piece := await line.server.read(PIECE_BYTES):
                line.answered = True
                await self._pace(len(piece))
                if line.cut:
                    continue
                cut_here = line.cut_answer_at >= 0
                with suppress(OSError):
                    line.to_client.write(piece[: line.cut_answer_at] if cut_here else piece)
                    await line.to_client.drain()
                if cut_here:
                    # Closed, not reset: what was written still arrives.
                    line.cut = True
                    line.to_client.close()
        line.to_client.transport.abort()

    async def _pace(self, size: int) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.bytes_per_s:
            await asyncio.sleep(size / self.bytes_per_s)


def cut_in_insert(chance: random.Random) -> Trap:
    """Return a trap that cuts the connection somewhere in an INSERT."""
    return Trap(INSERT, cut_request_at=chance.randrange(20, 2_000))


def cut_in_answer(chance: random.Random) -> Trap:
    """Return a trap that cuts the connection somewhere in the answer to an INSERT."""
    return Trap(INSERT, cut_answer_at=chance.randrange(0, 12))

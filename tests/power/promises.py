"""What was promised, from which operation on, and what is wrong with a start that tells otherwise."""

from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from shards.runs import Run, minus, runs_of, union
from tests.power.service import LetterView, ShardView, View

Wrong = tuple[str, str]
"""A kind of fault, one of `KINDS`, and what exactly is wrong."""

KINDS = {
    "lost": "acknowledged, and neither pending, nor shown by ClickHouse, nor a letter that can be read",
    "extra": "there, and never sent, or twice",
    "mixed": "not the bytes that were sent under this number",
    "refused": "a start that was refused",
    "damage": "counted as damaged, although no bit has changed",
    "sums": "terms of the accounting that do not add up, or are below 0",
    "number": "a number that can be given out again",
    "order": "an order of receipts that can be given out again",
    "letter": "a letter that is gone, or another's",
    "settlement": "a settlement that is another than the one that was answered",
    "id": "another id of the directory",
    "evidence": "rows that count as confirmed, and the journal does not know their attempt",
    "went back": "fewer rows confirmed than a checkpoint said that was written",
    "stuck": "a thread of the service ended, and everybody waits for it",
    "reread": "a second start, or one after another power failure, tells something else than the first",
}


@attrs.frozen
class Appended:
    """A row that was acknowledged, or that a start has told of."""

    shard: int
    seq: int
    row: bytes


@attrs.frozen
class Shown:
    """A row that ClickHouse holds durably."""

    row: bytes


@attrs.frozen
class Saved:
    """A checkpoint that was written: how many rows are confirmed, and of which the journal knows the attempt."""

    shard: int
    confirmed: int
    shown: tuple[Run, ...]


@attrs.frozen
class PutAside:
    """A letter that was put aside, or that a start has told of."""

    shard: int
    id: str
    row: bytes


@attrs.frozen
class Settled:
    """A settlement that was answered with 200, or that a start has told of."""

    shard: int
    id: str
    action: str


@attrs.frozen
class Named:
    """The id of the directory, once a receipt with it was given out, or a start has told of rows."""

    id: str


@attrs.frozen
class Ordered:
    """An order of receipts, ns since the epoch, that an event has that was acknowledged."""

    order_ns: int


Fact = Appended | Shown | Saved | PutAside | Settled | Named | Ordered


@attrs.define
class Promises:
    """The facts so far, each with the count of operations before it; and every row that was ever sent.

    A start that ended makes facts of all that it tells: it is answered from then on. Rows that are to be appended
    ``again``, because their letter is requeued, may be there twice.

    """

    sent: set[bytes] = attrs.field(factory=set)
    again: set[bytes] = attrs.field(factory=set)
    facts: list[tuple[int, Fact]] = attrs.field(factory=list)

    def note(self, count: int, *facts: Fact) -> None:
        """Add facts that hold from the operation ``count`` on."""
        self.facts += [(count, fact) for fact in facts]

    def note_start(self, count: int, view: View) -> None:
        """Add what a start has told."""
        for index, shard in enumerate(view.shards):
            self.note(count, *(Appended(index, seq, row) for seq, row in shard.pending.items()))
            self.note(count, Saved(index, shard.confirmed, shard.shown))
            for letter_id, letter in shard.letters.items():
                self.note(count, PutAside(index, letter_id, letter.row))
                if letter.action:
                    self.note(count, Settled(index, letter_id, letter.action))
        if any(shard.last_seq for shard in view.shards):
            self.note(count, Named(view.id))

    def upto(self, count: int) -> "Promises":
        """Return what holds after the first ``count`` operations; all of it, from then on, from the start."""
        facts = [(0, fact) for since, fact in self.facts if since <= count]
        return Promises(sent=set(self.sent), again=set(self.again), facts=facts)

    def broken_by(self, view: View, count: int) -> list[Wrong]:
        """Return what is wrong with what a start tells, after a power failure behind ``count`` operations."""
        facts = [fact for since, fact in self.facts if since <= count]
        shown = {fact.row for fact in facts if isinstance(fact, Shown)}
        wrong = [wrong for fact in facts for wrong in _broken(fact, view, shown, self.again)]
        for index, shard in enumerate(view.shards):
            wrong += [(kind, f"shard {index}: {what}") for kind, what in self._wrong_in(shard)]
        return list(dict.fromkeys(wrong))

    def _wrong_in(self, shard: ShardView) -> Iterator[Wrong]:
        yield from _wrong_sums(shard)
        rows = Counter(shard.pending.values())
        for row, times in rows.items():
            if row not in self.sent:
                yield "mixed", f"pending, and never sent: {row[:60]!r}"
            elif times > 1 and row not in self.again:
                yield "extra", f"pending {times} times: {row[:60]!r}"
        for letter_id, letter in shard.letters.items():
            if letter.row not in self.sent:
                yield "mixed", f"letter {letter_id} was never sent: {letter.row[:60]!r}"


def _wrong_sums(shard: ShardView) -> Iterator[Wrong]:
    terms = (shard.confirmed, shard.counted, shard.dead, shard.damaged)
    if shard.damaged:
        yield "damage", f"{shard.damaged} of {shard.last_seq}"
    if min(terms) < 0 or sum(terms) != shard.last_seq:
        yield "sums", f"{shard.last_seq} appended are not confirmed + pending + dead + damaged = {terms}"
    if shard.counted != len(shard.pending):
        yield "sums", f"{shard.counted} count as pending, {len(shard.pending)} can be read"
    if shard.dead != len(shard.letters):
        yield "letter", f"{shard.dead} count as dead letters, the file has {len(shard.letters)}"
    if unknown := minus(shard.done, union((*shard.covered, *runs_of(tuple(shard.dead_seqs))))):
        yield "evidence", f"the journal does not name {unknown}"


def _broken(fact: Fact, view: View, shown: set[bytes], again: set[bytes]) -> Iterator[Wrong]:
    match fact:
        case Appended(index, seq, row):
            shard = view.shards[index]
            kept = {letter.row for letter in shard.letters.values() if letter.action != "requeued"}
            kept |= shown | {waiting for waiting in shard.pending.values() if waiting in again}
            if seq > shard.last_seq:
                yield "number", f"shard {index}: {seq} is taken, the next one is {shard.last_seq + 1}"
            elif (found := shard.pending.get(seq)) not in (None, row):
                yield "mixed", f"shard {index}: {seq} is another row: {found!r}"
            if row not in kept and shard.pending.get(seq) != row:
                yield "lost", f"shard {index}: {seq}"
        case Saved(index, confirmed, runs):
            shard = view.shards[index]
            if shard.confirmed < confirmed:
                yield "went back", f"shard {index}: {shard.confirmed} of {confirmed} confirmed"
            if gone := minus(runs, shard.shown):
                yield "evidence", f"shard {index}: the attempts of {gone} are forgotten"
        case PutAside(index, letter_id, row):
            letter = view.shards[index].letters.get(letter_id)
            if letter is None or letter.row != row:
                yield "letter", f"{letter_id} is {'gone' if letter is None else 'another'}"
        case Settled(index, letter_id, action):
            yield from _wrong_settlement(letter_id, action, view.shards[index].letters.get(letter_id))
        case Ordered(order_ns):
            if view.next_order <= order_ns:
                yield "order", f"{order_ns} is taken, the next one is {view.next_order}"
        case Named(directory):
            if view.id != directory:
                yield "id", "receipts of before are unknown"


def _wrong_settlement(letter_id: str, action: str, letter: LetterView | None) -> Iterator[Wrong]:
    if letter is not None and letter.action != action:
        yield "settlement", f"{letter_id} was {action}, and is {letter.action or 'open'}"


def differences(first: View, second: View) -> Iterable[Wrong]:
    """Yield what two starts tell differently."""
    if first == second:
        return
    if first.id != second.id:
        yield "reread", "the id"
    for index, (one, other) in enumerate(zip(first.shards, second.shards, strict=True)):
        before, after = attrs.asdict(one), attrs.asdict(other)
        for name in before.keys() - {"shown", "covered"}:
            if before[name] != after[name]:
                yield "reread", f"shard {index}: {name} was {before[name]!r:.80}, and is {after[name]!r:.80}"

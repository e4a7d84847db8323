"""Tables of the console, as wide as the terminal at most."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Final, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.engagement.clock import match_status
from shards import FiledLetter, MatchAggregates, ShardSnapshot, Snapshot

WIDTH: Final = 80
"""Columns where the terminal tells none."""

WORDS_WIDTH: Final = 8
"""Least columns for words."""

SHARD_COLUMNS = (
    *("shard", "appended", "confirmed", "dead letters", "requeued", "discarded", "pending"),
    *("depth", "in flight", "on disk only", "retries", "state"),
)
LETTER_COLUMNS = ("id", "put aside", "code", "error")
WAL_COLUMNS = ("shard", "segments", "bytes", "oldest unconfirmed, s")
MATCH_COLUMNS = ("match", "status", "events", "pending")

_WORDS = (
    *("state", "error", "match", "status", "setting", "value"),
    *("name", "coroutine", "coro", "created location"),
)
_LEAST_TOLD = (
    *("on disk only", "retries", "in flight", "depth", "discarded", "requeued", "dead letters"),
    *("created location", "since", "since started"),
)
"""Columns that go, in this order, where the terminal is too narrow for all."""


def terminal_width() -> int:
    """Return the columns of the terminal that the present command is shown on."""
    # Imported late, as the console is, because it loads much.
    session = importlib.import_module("prompt_toolkit.application.current").get_app_session()
    return int(session.output.get_size().columns) or WIDTH


def shards_text(snapshot: Snapshot, width: int = WIDTH) -> str:
    """Return the shards as a table, and what is known of ClickHouse in one line."""
    rows = [
        (
            shard.index,
            shard.appended,
            shard.confirmed,
            shard.dead_lettered,
            shard.requeued,
            shard.discarded,
            shard.pending,
            shard.depth,
            shard.in_flight,
            shard.unread,
            shard.retries,
            _state(shard),
        )
        for shard in snapshot.shards
    ]
    store = snapshot.store
    state = "up" if store.up else f"away: {store.error}"
    table = table_text(SHARD_COLUMNS, rows, width)
    return f"{table}ClickHouse ({store.kind}) {state}, since {store.since:%Y-%m-%d %H:%M:%SZ}"


def wal_text(snapshot: Snapshot, width: int = WIDTH) -> str:
    """Return the log of each shard as a table, and whether it accepts in one line."""
    rows = [
        (shard.index, shard.wal_segments, shard.wal_bytes, f"{shard.oldest_unconfirmed_s:.1f}")
        for shard in snapshot.shards
    ]
    state = snapshot.wal_error or ("accepting" if snapshot.accepting else "not accepting")
    waiting = f"{snapshot.queued_bytes} more wait to be written"
    return f"{table_text(WAL_COLUMNS, rows, width)}{snapshot.wal_bytes} bytes in all, {waiting}; {state}"


def letters_text(letters: Sequence[FiledLetter], snapshot: Snapshot, width: int = WIDTH) -> str:
    """Return dead letters as a table, and what became of all of them in one line."""
    rows = [(one.id, f"{one.letter.at:%Y-%m-%d %H:%M:%SZ}", one.letter.code, one.letter.error) for one in letters]
    counts = f"{snapshot.dead_lettered} open, {snapshot.requeued} requeued, {snapshot.discarded} discarded"
    return f"{table_text(LETTER_COLUMNS, rows, width)}{counts}; see to them with: fanfinity deadletters"


def matches_text(matches: Iterable[MatchAggregates], width: int = WIDTH) -> str:
    """Return matches as a table, those with the newest activity first."""
    rows = [(one.match_id, match_status(one), one.total, one.pending_events) for one in matches]
    return f"{table_text(MATCH_COLUMNS, rows, width)}{len(rows)} matches"


def settings_text(settings: Mapping[str, str], width: int = WIDTH) -> str:
    """Return settings as a table, as people may see them."""
    return table_text(("setting", "value"), list(settings.items()), width)


def table_text(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> str:
    """Return a table. Columns of :data:`_LEAST_TOLD` go where there is no room; words wrap, and no number does."""
    widths = [_least_width(name, [row[number] for row in rows]) for number, name in enumerate(columns)]
    left = _with_room(columns, widths, width)
    table = Table(box=box.ASCII2)
    for number in left:
        is_words = columns[number] in _WORDS
        justify: Literal["left", "right"] = "left" if is_words else "right"
        table.add_column(columns[number], justify=justify, overflow="fold", min_width=widths[number])
    for row in rows:
        table.add_row(*(escape(printable(str(row[number]))) for number in left))
    text = StringIO()
    Console(file=text, width=max(width, _width_of(widths[number] for number in left))).print(table)
    return text.getvalue()


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal, because what ClickHouse quotes of a row is what somebody sent."""
    return "".join(one if one.isprintable() or one == "\n" else f"\\u{ord(one):04x}" for one in text)


def _with_room(columns: Sequence[str], widths: Sequence[int], width: int) -> list[int]:
    """Return the numbers of the columns that are told in a table of at most ``width`` columns of text."""
    left = list(range(len(columns)))
    for name in _LEAST_TOLD:
        if name in columns and _width_of(widths[one] for one in left) > width:
            left.remove(columns.index(name))
    return left


def _least_width(name: str, values: Sequence[object]) -> int:
    """Return the least width of a column: a number is never broken, words may be, between the words of a name."""
    if name in _WORDS:
        return max(len(name), WORDS_WIDTH)
    return max(len(text) for text in (*name.split(), *map(str, values)))


def _width_of(widths: Iterable[int]) -> int:
    """Return the width of a table with columns of these widths."""
    return sum(width + 3 for width in widths) + 1


def _state(shard: ShardSnapshot) -> str:
    if shard.paused:
        return f"paused by {shard.paused.by}"
    return shard.last_error or ("retired" if shard.retired else "ok")

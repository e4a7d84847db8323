"""``fanfinity replay``: sends a recorded match to a service and accounts for every row of the file."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs
import click
from rich import box
from rich.console import Console
from rich.table import Table

from app.commands.options import EXIT_INCOMPLETE, EXIT_INTERRUPTED, MomentParam, bearer_of, service_options
from app.commands.progress import plain_console, progress
from app.sending.client import Outgoing, ServiceClient
from app.sending.dispatch import Dispatch, SendingTally
from app.sending.recording import LeftOutRows, Recording, RecordingError, open_recording
from app.sending.statsbomb import ProviderError

_FAULTS_SHOWN = 20


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@service_options
@click.option("--match-id", default="", help="Match id of all events; by default the file's own, or its name.")
@click.option(
    "--lineup",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Line-ups of a provider's match; by default X_lineup.json beside X_event.json.",
)
@click.option(
    "--kickoff",
    type=MomentParam(),
    help="When the match began, for files without a time of day: ISO 8601 with Z or an offset, or 'now'. "
    "By default today at 00:00 UTC.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Send as played, this many times faster (1: real time). By default as fast as the service takes it.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="Most events in one request.",
)
def replay(
    *,
    file: Path,
    url: str,
    connections: int,
    give_up_after_s: float,
    match_id: str,
    lineup: Path | None,
    kickoff: datetime | None,
    speed: float | None,
    batch: int,
) -> None:
    """Send the recorded match in FILE to a running service.

    FILE holds events as NDJSON or a JSON array, or is a StatsBomb event file (needs the extra 'providers');
    plain or gzipped. Ids are those of the file, so a replay can be run again: what is known counts once.
    """
    out, err = plain_console(), plain_console(stderr=True)
    try:
        recording = open_recording(file, match_id=match_id, lineup=lineup, kickoff=kickoff or _midnight())
    except (RecordingError, ProviderError) as error:
        raise click.ClickException(str(error)) from error
    _check_kickoff(recording, kickoff, err)
    run = _Replay(recording=recording, speed=speed)
    client = ServiceClient(
        url,
        connections=connections,
        give_up_after_s=give_up_after_s,
        bearer=bearer_of(url),
        on_trouble=partial(err.print, soft_wrap=True),
    )
    interrupted = False
    try:
        asyncio.run(run.send(client, connections=connections, batch=batch, label=file.name, console=err))
    except KeyboardInterrupt:
        interrupted = True
    run.take_the_rest()
    run.print_summary(out, interrupted=interrupted)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if run.tally.open or run.tally.rejected or run.faults:
        raise click.exceptions.Exit(EXIT_INCOMPLETE)


def _midnight() -> datetime:
    """Return today at 00:00 UTC, the same all day, so that a replay run again gives the same times."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _check_kickoff(recording: Recording, kickoff: datetime | None, err: Console) -> None:
    if recording.has_times and kickoff is not None:
        raise click.UsageError("--kickoff is for files without a time of day; this one has timestamps")
    if not recording.has_times and kickoff is None:
        err.print(f"The file gives no time of day: kick-off is set to {_midnight().isoformat()}; --kickoff changes it.")


@attrs.define(kw_only=True)
class _Replay:
    """One run: the schedule of a recording and the account of its rows."""

    recording: Recording
    speed: float | None
    tally: SendingTally = attrs.field(factory=SendingTally)
    left_out: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    faults: list[str] = attrs.field(factory=list)
    _schedule: Iterator[tuple[float, Outgoing]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._schedule = self._due()

    async def send(self, client: ServiceClient, *, connections: int, batch: int, label: str, console: Console) -> None:
        backlog = 1000 if self.speed else 2 * connections
        async with client:
            with progress(console, label, total=self.recording.expected) as on_settled:
                await Dispatch(
                    client=client,
                    tally=self.tally,
                    batch=batch,
                    connections=connections,
                    backlog=backlog,
                    on_settled=on_settled,
                ).run(self._schedule)

    def take_the_rest(self) -> None:
        """Count what was not reached because the run ended early."""
        for _, event in self._schedule:
            self.tally.take(event)

    def _due(self) -> Iterator[tuple[float, Outgoing]]:
        """Yield what is to be sent, with the time since the start of the run; note what is left out."""
        first_s: float | None = None
        due_s = 0.0
        for entry in self.recording.entries:
            if isinstance(entry, LeftOutRows):
                self.left_out[entry.type_name, entry.reason] += entry.rows
                self.faults.extend([entry.fault] if entry.fault else [])
                continue
            if self.speed and entry.at_s is not None:
                first_s = entry.at_s if first_s is None else first_s
                due_s = max(due_s, (entry.at_s - first_s) / self.speed)
            yield due_s, entry.event

    def print_summary(self, out: Console, *, interrupted: bool) -> None:
        out.print(self._sent_table())
        if self.left_out:
            out.print(self._left_out_table())
        out.print(self._balance(), soft_wrap=True)
        self._print_troubles(out, interrupted=interrupted)
        if self.recording.notice:
            out.print(self.recording.notice)

    def _balance(self) -> str:
        """Return one line that accounts for every row of the file."""
        rows, added = Counter[str](), 0
        for (source, event_type), taken in self.tally.taken.items():
            key = source, event_type
            rejected, accepted = self.tally.rejected[key], self.tally.accepted[key]
            if source:
                rows.update(sent=accepted, rejected=rejected, unsent=taken - accepted - rejected)
            else:
                added += accepted
        parts = [f"{rows['sent']:,} sent", f"{self.left_out.total():,} left out"]
        parts += [f"{rows['rejected']:,} rejected"] if rows["rejected"] else []
        parts += [f"{rows['unsent']:,} not sent, or not acknowledged"] if rows["unsent"] else []
        total = rows.total() + self.left_out.total()
        return f"{total:,} rows in the file = {' + '.join(parts)}; {added:,} events added"

    def _print_troubles(self, out: Console, *, interrupted: bool) -> None:
        if interrupted:
            out.print("Stopped by Ctrl-C. The same command again sends the rest and counts nothing twice.")
        if self.tally.failure:
            out.print(f"Stopped: {self.tally.failure}", soft_wrap=True)
        if self.tally.retries:
            out.print(f"{self.tally.retries:,} attempts had to be repeated.")
        named = [f"{r.event.event_type} {r.event.event_id}: {'; '.join(r.faults)}" for r in self.tally.rejections]
        for line in [*self.faults, *named][:_FAULTS_SHOWN]:
            out.print(f"  {line}", soft_wrap=True)
        hidden = len(self.faults) + self.tally.rejected.total() - _FAULTS_SHOWN
        if hidden > 0:
            out.print(f"  … and {hidden:,} more")

    def _sent_table(self) -> Table:
        """Return a line for each kind of row that is sent, with columns of rejected and unsent rows where there are."""
        table = _table("in the file", "sent as", "sent")
        columns = [self.tally.accepted]
        unsent = self.tally.taken - self.tally.accepted - self.tally.rejected
        for name, counts in (("rejected", self.tally.rejected), ("not sent", unsent)):
            if counts:
                table.add_column(name, justify="right", no_wrap=True)
                columns.append(counts)
        by_size = sorted(self.tally.taken.items(), key=lambda item: (not item[0][0], -item[1]))
        for key, _ in by_size:
            source, event_type = key
            table.add_row(source or "(added)", event_type, *(f"{counts[key]:,}" for counts in columns))
        return table

    def _left_out_table(self) -> Table:
        table = _table("in the file", "why left out", "left out")
        for (type_name, reason), rows in self.left_out.most_common():
            table.add_row(type_name, reason, f"{rows:,}")
        return table


def _table(*headers: str) -> Table:
    """Return a table of two columns of text and one of counts, in which no name is cut off."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers[:2]:
        table.add_column(header, overflow="fold")
    table.add_column(headers[2], justify="right", no_wrap=True)
    return table

"""``fanfinity replay``: sends a recorded match to a service and accounts for every row of the file."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import attrs
import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.commands.options import EXIT_INCOMPLETE, EXIT_INTERRUPTED, MomentParam, bearer_of, service_options
from app.commands.progress import plain_console, progress
from app.sending.client import Outgoing, ServiceClient
from app.sending.dispatch import Dispatch, SendingTally
from app.sending.providers.conversion import Kickoff
from app.sending.providers.match import ProviderError
from app.sending.recordings.opening import open_recording
from app.sending.recordings.own import text_in
from app.sending.recordings.recording import LeftOutRows, Recording, RecordingError, told_of_speed

_FAULTS_SHOWN = 20


class _KickoffParam(click.ParamType[datetime | Literal["now"]]):
    """A time with a zone in ISO 8601, or ``now``, which stays the word."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | Literal["now"]:
        """Return the moment or the word; fail with a sentence that says what is missing."""
        return "now" if value == "now" else MomentParam().convert(value, param, ctx)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@service_options
@click.option("--match-id", default="", help="Match id of all events; by default the file's own, or its name.")
@click.option(
    "--with",
    "--lineup",
    "beside",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A file that belongs to a provider's event file, as its line-ups; can be given several times. By default the "
    "folder of FILE is searched for one of the same match.",
)
@click.option(
    "--kickoff",
    type=_KickoffParam(),
    help="When a provider's match began: ISO 8601 with Z or an offset; or 'now', with which it ends when the run ends. "
    "By default as the file says, else today at 00:00 UTC.",
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
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and nothing else.")
def replay(
    *,
    file: Path,
    url: str,
    connections: int,
    give_up_after_s: float,
    match_id: str,
    beside: tuple[Path, ...],
    kickoff: datetime | Literal["now"] | None,
    speed: float | None,
    batch: int,
    as_json: bool,
) -> None:
    """Send the recorded match in FILE to a running service.

    FILE holds events: one as a JSON object, a JSON array, NDJSON, or an answer of GET /api/matches/{matchId}/events.
    Or it is an event file of StatsBomb, Opta (F24, F73), Stats Perform (MA3), Wyscout (v2, v3), DataFactory, Sportec,
    Impect or Metrica, which needs the extra 'providers'. Plain or gzipped, whole or cut off. Ids are those of the
    file, so a replay can be run again: what is known counts once.

    Exits with 1 where an event was rejected or not acknowledged, with 130 where it was interrupted.
    """
    err = plain_console(stderr=True)
    try:
        recording = open_recording(file, match_id=match_id, beside=beside, kickoff=_kickoff(kickoff, speed))
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
    _show_and_exit(run, interrupted=interrupted, as_json=as_json)


def _show_and_exit(run: "_Replay", *, interrupted: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"interrupted": interrupted} | run.view()))
    else:
        run.print_summary(plain_console(), interrupted=interrupted)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if run.tally.open or run.tally.rejected or run.faults:
        raise click.exceptions.Exit(EXIT_INCOMPLETE)


def _midnight() -> datetime:
    """Return today at 00:00 UTC, the same all day, so that a replay run again gives the same times."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _kickoff(given: datetime | Literal["now"] | None, speed: float | None) -> Kickoff:
    """Return what tells when a match begins.

    For ``now`` it is so long ago that the match ends when the run ends: an event that happens ``t`` after kick-off is
    sent ``t / speed`` after the start of the run, so none is dated ahead of the clock. Slower than played, the match
    begins with the run.
    """

    def find(told: datetime | None, length_s: float) -> datetime:
        if given == "now":
            run_s = length_s / speed if speed else 0.0
            return datetime.now(UTC) - timedelta(seconds=max(0.0, length_s - run_s))
        return given or told or _midnight()

    return find


def _check_kickoff(recording: Recording, kickoff: datetime | Literal["now"] | None, err: Console) -> None:
    if recording.has_own_times and kickoff is not None:
        raise click.UsageError(
            "--kickoff is for files without a time of day, and of providers; this one has timestamps"
        )
    if not recording.has_kickoff and kickoff is None:
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
            client.ack_stored = await client.knows_match(self._first_match())
            with progress(console, label, total=self.recording.expected) as on_settled:
                await Dispatch(
                    client=client,
                    tally=self.tally,
                    batch=batch,
                    connections=connections,
                    backlog=backlog,
                    on_settled=on_settled,
                ).run(self._schedule)

    def _first_match(self) -> str:
        """Return the match of the first event: where the service knows it, events are asked for what is known."""
        first = next(self._schedule, None)
        if first is None:
            return ""
        self._schedule = chain([first], self._schedule)
        return text_in(msgspec.json.decode(first[1].body, type=dict[str, msgspec.Raw]), "matchId")

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
            yield due_s, entry.event if self.recording.has_own_times else told_of_speed(entry.event, self.speed)

    def view(self) -> dict[str, Any]:
        """Return what became of every row of the file, as programs get it."""
        left_out = [
            {"type": type_name, "reason": reason, "rows": rows} for (type_name, reason), rows in self.left_out.items()
        ]
        return self.tally.view() | {
            "alreadyKnown": self.tally.already_known,
            "leftOut": left_out,
            "faults": self.faults,
            "notices": list(self.recording.notices),
        }

    def print_summary(self, out: Console, *, interrupted: bool) -> None:
        out.print(self._sent_table())
        if self.left_out:
            out.print(self._left_out_table())
        out.print(self._balance(), soft_wrap=True)
        if self.tally.already_known:
            out.print(f"{self.tally.already_known:,} already known, not changed")
        self._print_troubles(out, interrupted=interrupted)
        for notice in self.recording.notices:
            out.print(notice, soft_wrap=True)

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

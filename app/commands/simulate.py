"""``fanfinity simulate``: sends made-up matches to a running service."""

import asyncio
import heapq
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs
import click
import msgspec
from rich.console import Console

from app.commands.options import EXIT_INCOMPLETE, EXIT_INTERRUPTED, bearer_of, service_options
from app.commands.progress import plain_console, progress
from app.sending.client import Outgoing, ServiceClient
from app.sending.dispatch import Dispatch, SendingTally
from app.sending.simulator import Moment, match_length_s, simulate_match
from app.times import iso_of

_REJECTIONS_SHOWN = 20


@attrs.frozen(kw_only=True)
class Fixture:
    """The matches of one run. The same fixture always holds the same events, except for their timestamps."""

    seed: int
    matches: int
    minutes: float
    fans_per_minute: float

    def match_ids(self) -> list[str]:
        """Return the match ids; they name the seed."""
        return [f"sim-{self.seed}-{number}" for number in range(1, self.matches + 1)]

    def moments(self) -> Iterator[Moment]:
        """Yield the events of all matches, which kick off together, in the order of time."""
        matches = (
            simulate_match(
                random.Random(match_id),
                match_id=match_id,
                minutes=self.minutes,
                fans_per_minute=self.fans_per_minute,
            )
            for match_id in self.match_ids()
        )
        return heapq.merge(*matches, key=lambda moment: moment.offset_s)

    def schedule(self, *, kickoff: datetime, speed: float, rate: float | None) -> Iterator[tuple[float, Outgoing]]:
        """Yield each event with the seconds until it is due: by the match's clock, or evenly at ``rate`` a second."""
        for number, moment in enumerate(self.moments()):
            yield (number / rate if rate else moment.offset_s / speed), outgoing(moment, kickoff)


def outgoing(moment: Moment, kickoff: datetime) -> Outgoing:
    """Return the moment as an event to send."""
    event = moment.event | {"timestamp": iso_of(kickoff + timedelta(seconds=moment.offset_s))}
    return Outgoing(
        event_id=event["eventId"],
        event_type=event["eventType"],
        body=msgspec.json.encode(event),
        source=event["matchId"],
    )


@click.command()
@service_options
@click.option("--matches", type=click.IntRange(1, 1000), default=1, show_default=True, help="Matches at once.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=1, max=600),
    default=90.0,
    show_default=True,
    help="Minutes of play; a break is added.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Times faster than real time. By default 60: a match takes under two minutes.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Instead of --speed: send evenly, this many events a second, whatever the match's clock says.",
)
@click.option(
    "--fans",
    "fans_per_minute",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Fan events a minute of a match while nothing happens; a goal multiplies them for some minutes.",
)
@click.option("--seed", type=int, help="The same seed makes the same matches. By default a new one each time.")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most events in one request."
)
def simulate(
    *,
    url: str,
    connections: int,
    give_up_after_s: float,
    matches: int,
    minutes: float,
    speed: float | None,
    rate: float | None,
    fans_per_minute: float,
    seed: int | None,
    batch: int,
) -> None:
    """Send a lively made-up match, or many at once, to a running service."""
    if speed and rate:
        raise click.UsageError("--speed and --rate exclude each other, because both set the pace; leave one out")
    out, err = plain_console(), plain_console(stderr=True)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    fixture = Fixture(seed=seed, matches=matches, minutes=minutes, fans_per_minute=fans_per_minute)
    for match_id in fixture.match_ids()[:10]:
        out.print(f"{url.rstrip('/')}/matches/{match_id}", soft_wrap=True)
    client = ServiceClient(
        url,
        connections=connections,
        give_up_after_s=give_up_after_s,
        bearer=bearer_of(url),
        on_trouble=partial(err.print, soft_wrap=True),
    )
    tally, started, interrupted = SendingTally(), time.monotonic(), False
    run = _send(fixture, client, tally, speed=speed, rate=rate, connections=connections, batch=batch, console=err)
    try:
        asyncio.run(run)
    except KeyboardInterrupt:
        interrupted = True
    _print_summary(out, tally, seconds=time.monotonic() - started, seed=seed, interrupted=interrupted)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if tally.failure or tally.open or tally.rejected:
        raise click.exceptions.Exit(EXIT_INCOMPLETE)


async def _send(
    fixture: Fixture,
    client: ServiceClient,
    tally: SendingTally,
    *,
    speed: float | None,
    rate: float | None,
    connections: int,
    batch: int,
    console: Console,
) -> None:
    speed = speed or 60.0
    length_s = match_length_s(fixture.minutes)
    total = sum(1 for _ in fixture.moments())
    takes_s = total / rate if rate else length_s / speed
    # The match's clock runs faster than the wall's, so its end is put at the end of the run. No event is then dated
    # ahead of the moment it is sent.
    kickoff = datetime.now(UTC) - timedelta(seconds=max(0.0, length_s - takes_s))
    async with client:
        with progress(console, f"seed {fixture.seed}", total=total) as on_settled:
            dispatch = Dispatch(client=client, tally=tally, batch=batch, connections=connections, on_settled=on_settled)
            await dispatch.run(fixture.schedule(kickoff=kickoff, speed=speed, rate=rate))


def _print_summary(out: Console, tally: SendingTally, *, seconds: float, seed: int, interrupted: bool) -> None:
    if interrupted:
        out.print("Stopped by Ctrl-C.")
    if tally.failure:
        out.print(f"Stopped: {tally.failure}", soft_wrap=True)
    accepted, rejected = tally.accepted.total(), tally.rejected.total()
    out.print(
        f"{tally.taken.total():,} events in {seconds:.1f} s: {accepted:,} accepted, {rejected:,} rejected, "
        f"{tally.open:,} not acknowledged (seed {seed})",
        soft_wrap=True,
    )
    out.print(f"{tally.requests:,} requests, {tally.retries:,} attempts repeated, at most {tally.late_s:.2f} s late")
    if times := tally.answer_times_ms():
        out.print(
            "answered in ms: " + ", ".join(f"{n} {ms:.1f}" for n, ms in zip(("p50", "p95", "p99"), times, strict=True))
        )
    for rejection in tally.rejections[:_REJECTIONS_SHOWN]:
        event = rejection.event
        out.print(f"  {event.event_type} {event.event_id}: {'; '.join(rejection.faults)}", soft_wrap=True)

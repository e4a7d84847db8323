"""``fanfinity simulate``: sends made-up matches to a running service."""

import asyncio
import heapq
import json
import math
import random
import time
from collections.abc import Iterable, Iterator
from functools import partial

import attrs
import click
import msgspec
from rich.console import Console

from app.commands.options import EXIT_INCOMPLETE, EXIT_INTERRUPTED, bearer_of, service_options
from app.commands.progress import plain_console, progress
from app.sending.client import Outgoing, ServiceClient
from app.sending.dispatch import Dispatch, SendingTally
from app.sending.simulator import Moment, simulate_match
from app.times import iso_ms

_REJECTIONS_SHOWN = 20
_SPEED = 60.0

_encode = msgspec.json.Encoder().encode


@attrs.frozen(kw_only=True)
class SendingPace:
    """How fast events are sent: by the match's clock, ``speed`` times faster, or evenly, ``rate`` events a second."""

    speed: float = _SPEED
    rate: float | None = None

    def due(self, moments: Iterable[Moment]) -> Iterator[tuple[float, Moment]]:
        """Yield each moment with the seconds from the start of the run until it is due."""
        first_s: float | None = None
        for number, moment in enumerate(moments):
            if first_s is None:
                first_s = moment.offset_s
            yield (number / self.rate if self.rate else (moment.offset_s - first_s) / self.speed), moment


@attrs.frozen(kw_only=True)
class Fixture:
    """The matches of one run. The same fixture always holds the same events, except for their timestamps."""

    seed: int
    matches: int
    minutes: float
    fans_per_minute: float
    knockout: bool = False

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
                knockout=self.knockout,
            )
            for match_id in self.match_ids()
        )
        return heapq.merge(*matches, key=lambda moment: moment.offset_s)

    def survey(self, pace: SendingPace) -> tuple[int, float]:
        """Return how many events there are, and how many seconds before the run the matches are to kick off.

        That is just early enough that no event is dated ahead of the moment it is due. So a match that is sent faster
        than it is played ends when the run ends. Negative where kick-off comes during the run.
        """
        total, early_s = 0, -math.inf
        for due_s, moment in pace.due(self.moments()):
            total += 1
            early_s = max(early_s, moment.offset_s - due_s)
        return total, early_s

    def schedule(self, *, kickoff_ms: int, pace: SendingPace) -> Iterator[tuple[float, Outgoing]]:
        """Yield each event with the seconds until it is due; ``kickoff_ms`` counts since the epoch."""
        return ((due_s, outgoing(moment, kickoff_ms, speed=pace.speed)) for due_s, moment in pace.due(self.moments()))


def outgoing(moment: Moment, kickoff_ms: int, *, speed: float = 1.0) -> Outgoing:
    """Return the moment as an event to send, whole ms after ``kickoff_ms``, never later than it happens.

    The start says at which ``speed`` the match is sent, so that its clock is told by its events.
    """
    event = moment.event
    if event["eventType"] == "match_start" and speed > 1:
        event = {**event, "metadata": event["metadata"] | {"speed": speed}}
    timestamp = iso_ms(kickoff_ms + math.floor(moment.offset_s * 1000))
    return Outgoing(
        event_id=event["eventId"],
        event_type=event["eventType"],
        body=_encode({**event, "timestamp": timestamp}),
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
    help="Minutes of play; stoppage time and a break are added.",
)
@click.option(
    "--knockout", is_flag=True, help="Go on to extra time and a shoot-out where nobody has won after 90 minutes."
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
    help="Fan events a minute of a match while nothing happens; a goal multiplies them for a minute or two.",
)
@click.option("--seed", type=int, help="The same seed makes the same matches. By default a new one each time.")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most events in one request."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and nothing else.")
def simulate(
    *,
    url: str,
    connections: int,
    give_up_after_s: float,
    matches: int,
    minutes: float,
    knockout: bool,
    speed: float | None,
    rate: float | None,
    fans_per_minute: float,
    seed: int | None,
    batch: int,
    as_json: bool,
) -> None:
    """Send a lively made-up match, or many at once, to a running service.

    Exits with 1 where an event was rejected or not acknowledged, with 130 where it was interrupted.
    """
    if speed and rate:
        raise click.UsageError("--speed and --rate exclude each other, because both set the pace; leave one out")
    out, err = plain_console(), plain_console(stderr=True)
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    fixture = Fixture(seed=seed, matches=matches, minutes=minutes, fans_per_minute=fans_per_minute, knockout=knockout)
    if not as_json:
        _print_pages(out, url, fixture)
    client = ServiceClient(
        url,
        connections=connections,
        give_up_after_s=give_up_after_s,
        bearer=bearer_of(url),
        on_trouble=partial(err.print, soft_wrap=True),
    )
    run = _Run(fixture=fixture, pace=SendingPace(speed=speed or _SPEED, rate=rate))
    started, interrupted = time.monotonic(), False
    try:
        asyncio.run(run.send(client, connections=connections, batch=batch, console=err))
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - started
    if as_json:
        _print_json(fixture, run.tally, seconds=seconds, interrupted=interrupted)
    else:
        _print_summary(out, run.tally, seconds=seconds, seed=seed, interrupted=interrupted)
    _exit(run.tally, interrupted=interrupted)


def _exit(tally: SendingTally, *, interrupted: bool) -> None:
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    if tally.failure or tally.open or tally.rejected:
        raise click.exceptions.Exit(EXIT_INCOMPLETE)


@attrs.define(kw_only=True)
class _Run:
    """One run of the command, and the account of its events."""

    fixture: Fixture
    pace: SendingPace
    tally: SendingTally = attrs.field(factory=SendingTally)

    async def send(self, client: ServiceClient, *, connections: int, batch: int, console: Console) -> None:
        total, early_s = self.fixture.survey(self.pace)
        kickoff_ms = math.floor(time.time() * 1000 - early_s * 1000)
        async with client:
            with progress(console, f"seed {self.fixture.seed}", total=total) as on_settled:
                await Dispatch(
                    client=client,
                    tally=self.tally,
                    batch=batch,
                    connections=connections,
                    on_settled=on_settled,
                ).run(self.fixture.schedule(kickoff_ms=kickoff_ms, pace=self.pace))


def _print_pages(out: Console, url: str, fixture: Fixture) -> None:
    for match_id in fixture.match_ids()[:10]:
        out.print(f"{url.rstrip('/')}/matches/{match_id}", soft_wrap=True)


def _print_json(fixture: Fixture, tally: SendingTally, *, seconds: float, interrupted: bool) -> None:
    made = {"seed": fixture.seed, "matches": list(fixture.match_ids()), "seconds": round(seconds, 3)}
    click.echo(json.dumps(made | {"interrupted": interrupted} | tally.view()))


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

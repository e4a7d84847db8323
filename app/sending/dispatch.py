"""Sends a stream of events at its own pace over a few connections, and counts what became of each."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import attrs
from ddsketch import DDSketch

from app.sending.asking import ClientError
from app.sending.client import Delivery, Outgoing, Rejection, ServiceClient

_COARSE_S: Final = 0.005
"""Seconds up to which a pause is left out; events that fall due within them go out together."""
_QUANTILES: Final = (0.5, 0.95, 0.99)


@attrs.define
class SendingTally:
    """The counts of the events so far, by (``source``, ``event_type``).

    ``taken`` = ``accepted`` + ``rejected`` + those whose fate is open: not sent, or not acknowledged.
    """

    taken: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    accepted: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    rejected: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    rejections: list[Rejection] = attrs.field(factory=list)
    retries: int = 0
    requests: int = 0
    already_known: int = 0
    late_s: float = 0.0
    failure: str = ""
    _answer_times: DDSketch = attrs.field(factory=lambda: DDSketch(0.01), alias="answer_times")

    @property
    def settled(self) -> int:
        """Events that the service accepted or rejected."""
        return self.accepted.total() + self.rejected.total()

    @property
    def open(self) -> int:
        """Events taken whose fate is not known."""
        return self.taken.total() - self.settled

    def take(self, event: Outgoing) -> None:
        """Count an event that is to be sent."""
        self.taken[event.source, event.event_type] += 1

    def record(self, delivery: Delivery) -> None:
        """Count one delivery, and keep the first hundred rejections."""
        self.accepted.update((event.source, event.event_type) for event in delivery.accepted)
        self.rejected.update((r.event.source, r.event.event_type) for r in delivery.rejected)
        self.rejections.extend(delivery.rejected[: max(0, 100 - len(self.rejections))])
        self.retries += delivery.retries
        self.requests += 1
        self.already_known += delivery.already_known
        self._answer_times.add(delivery.answered_in_s)

    def view(self) -> dict[str, Any]:
        """Return the counts as programs get them."""
        return {
            "events": self.taken.total(),
            "accepted": self.accepted.total(),
            "rejected": self.rejected.total(),
            "notAcknowledged": self.open,
            "requests": self.requests,
            "retries": self.retries,
            "lateSeconds": round(self.late_s, 3),
            "answeredInMs": dict(zip(("p50", "p95", "p99"), self.answer_times_ms(), strict=False)),
            "failure": self.failure,
            "rejections": [{"eventId": str(r.event.event_id), "faults": list(r.faults)} for r in self.rejections],
        }

    def answer_times_ms(self) -> tuple[float, ...]:
        """Return p50, p95 and p99 of the final answers in ms; empty before the first."""
        values = [self._answer_times.get_quantile_value(quantile) for quantile in _QUANTILES]
        return tuple(value * 1000 for value in values if value is not None)


@attrs.frozen(kw_only=True)
class Dispatch:
    """A sender of scheduled events.

    Attributes:
        batch: most events in one request.
        connections: most requests at once.
        backlog: most batches that wait for a connection; beyond, the schedule waits.
    """

    client: ServiceClient
    tally: SendingTally
    batch: int = 500
    connections: int = 4
    backlog: int = 1000
    on_settled: Callable[[int], None] = lambda _settled: None

    async def run(self, schedule: Iterable[tuple[float, Outgoing]]) -> None:
        """Send every event when it falls due: seconds after the start, never going back; 0 for at once.

        A client's error ends the run and is then in the tally's ``failure``.
        """
        queue: asyncio.Queue[tuple[float, Sequence[Outgoing]] | None] = asyncio.Queue(self.backlog)
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.connections):
                    group.create_task(self._work(queue, started))
                await self._enqueue(queue, schedule, started)
                for _ in range(self.connections):
                    await queue.put(None)
        except* ClientError as errors:
            self.tally.failure = str(errors.exceptions[0])

    async def _enqueue(
        self,
        queue: "asyncio.Queue[tuple[float, Sequence[Outgoing]] | None]",
        schedule: Iterable[tuple[float, Outgoing]],
        started: float,
    ) -> None:
        waiting: list[Outgoing] = []
        first_due_s = 0.0
        for due_s, event in schedule:
            self.tally.take(event)
            pause_s = started + due_s - time.monotonic()
            if waiting and (pause_s > _COARSE_S or len(waiting) == self.batch):
                await queue.put((first_due_s, waiting))
                waiting = []
            if pause_s > _COARSE_S:
                await asyncio.sleep(pause_s)
            if not waiting:
                first_due_s = due_s
            waiting.append(event)
        if waiting:
            await queue.put((first_due_s, waiting))

    async def _work(self, queue: "asyncio.Queue[tuple[float, Sequence[Outgoing]] | None]", started: float) -> None:
        while (item := await queue.get()) is not None:
            due_s, events = item
            self.tally.late_s = max(self.tally.late_s, time.monotonic() - started - due_s)
            delivery = await self.client.send(events)
            self.tally.record(delivery)
            self.on_settled(len(events))

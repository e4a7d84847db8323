"""The metrics of a match as bytes, made once for all who ask for the same."""

import asyncio
import time
from collections.abc import Callable, Collection
from functools import partial

import attrs
import msgspec

from app.engagement.curves import CurveWanted
from app.engagement.views import Percentiles, metrics_view
from app.observability.response_times import ResponseTimes
from app.web.conditional import essence, tag_of
from app.web.shared import Shared
from shards import MatchAggregates, StoreState

MAX_AGE_S = 0.75
"""Seconds after which an answer is made anew even from the same figures, because response times go on."""

KEPT = 256
"""Most answers that are kept, because anybody can ask for many ranges; their bytes are bounded, too."""

BUCKETS_AT_ONCE = 1_000
"""Buckets of a curve above which its answer is made in a thread, because it would hold up the event loop."""

FRESH_S = 2.0
CHANGING = {True: ("asOf", "responseTimePercentiles"), False: ("responseTimePercentiles",)}
"""Members that are no reason to send metrics again, by whether these are fresh: ``asOf`` of old ones shows the age."""


@attrs.frozen
class Rendered:
    """An answer: JSON, and its ETag without the quotes."""

    body: bytes
    tag: str


class RenderedMetrics:
    """The answers of the last :data:`MAX_AGE_S` seconds, at most :data:`KEPT`."""

    def __init__(
        self, response_times: ResponseTimes, *, store_state: Callable[[], StoreState | None] = lambda: None
    ) -> None:
        self._response_times = response_times
        self._store_state = store_state
        self._answers: Shared[tuple[str, CurveWanted | None], Rendered] = Shared(
            max_age_s=MAX_AGE_S, keys_max=KEPT, size_of=lambda rendered: len(rendered.body)
        )

    async def get(self, aggregates: MatchAggregates, curve: CurveWanted | None = None) -> Rendered:
        """Return the answer that shows these aggregates, at most :data:`MAX_AGE_S` seconds old."""
        make = partial(self._make, aggregates, curve)
        return await self._answers.get((aggregates.match_id, curve), make, version=aggregates)

    def forget(self, match_ids: Collection[str]) -> None:
        """Forget the answers of matches that are erased."""
        self._answers.forget(lambda key: key[0] in match_ids)

    async def _make(self, aggregates: MatchAggregates, curve: CurveWanted | None) -> Rendered:
        percentiles = self._response_times.percentiles(aggregates.match_id)
        if len(aggregates.curve) > BUCKETS_AT_ONCE:
            return await asyncio.to_thread(_rendered, aggregates, percentiles, curve, self._store_state())
        return _rendered(aggregates, percentiles, curve, self._store_state())


def _rendered(
    aggregates: MatchAggregates, percentiles: Percentiles, curve: CurveWanted | None, store: StoreState | None
) -> Rendered:
    view = metrics_view(aggregates, percentiles=percentiles, curve=curve, store=store)
    fresh = time.monotonic() - aggregates.counted_at < FRESH_S
    counted = essence(view, without=CHANGING[fresh])
    return Rendered(msgspec.json.encode(view), tag_of(counted))

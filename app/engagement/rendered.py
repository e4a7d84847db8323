"""The metrics of a match as bytes, made once for all who ask for the same."""

import asyncio
import time
from collections import OrderedDict

import attrs
import msgspec

from app.engagement.curves import CurveWanted
from app.engagement.views import Percentiles, metrics_view
from app.observability.response_times import ResponseTimes
from app.web.conditional import essence, tag_of
from shards import MatchAggregates

MAX_AGE_S = 0.75
"""Even of the same figures an answer is made anew then: response times go on. The figures mostly change before."""

KEPT = 256
BUCKETS_AT_ONCE = 1_000
"""Longer curves are made into an answer in a thread: they would hold up the event loop."""

FRESH_MS = 2_000
CHANGING = {True: ("asOf", "responseTimePercentiles"), False: ("responseTimePercentiles",)}
"""What of the metrics is no reason to send them again, by whether they are fresh: of old ones it shows how old."""


@attrs.frozen
class Rendered:
    """An answer: JSON, and its ETag without the quotes."""

    body: bytes
    tag: str


_Key = tuple[str, CurveWanted | None]


@attrs.frozen
class _Kept:
    aggregates: MatchAggregates
    made: asyncio.Task[Rendered]


class RenderedMetrics:
    """The answers of the last :data:`MAX_AGE_S`, at most :data:`KEPT`."""

    def __init__(self, response_times: ResponseTimes) -> None:
        self._response_times = response_times
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    async def get(self, aggregates: MatchAggregates, curve: CurveWanted | None = None) -> Rendered:
        """Return the answer that shows these aggregates, at most :data:`MAX_AGE_S` old."""
        key = aggregates.match_id, curve
        kept = self._kept.get(key)
        if kept is None or kept.aggregates is not aggregates:
            kept = _Kept(aggregates, asyncio.create_task(self._make(aggregates, curve), name="render metrics"))
            self._keep(key, kept)
        # Who goes away must not take the answer from the others.
        return kept.made.result() if kept.made.done() else await asyncio.shield(kept.made)

    def _keep(self, key: _Key, kept: _Kept) -> None:
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        # So it is made anew; and it can have megabytes, of as many ranges as somebody asks for.
        asyncio.get_running_loop().call_later(MAX_AGE_S, self._forget, key, kept)

    def _forget(self, key: _Key, kept: _Kept) -> None:
        if self._kept.get(key) is kept:
            del self._kept[key]

    async def _make(self, aggregates: MatchAggregates, curve: CurveWanted | None) -> Rendered:
        percentiles = self._response_times.percentiles(aggregates.match_id)
        if len(aggregates.curve) > BUCKETS_AT_ONCE:
            return await asyncio.to_thread(_rendered, aggregates, percentiles, curve)
        return _rendered(aggregates, percentiles, curve)


def _rendered(aggregates: MatchAggregates, percentiles: Percentiles, curve: CurveWanted | None) -> Rendered:
    view = metrics_view(aggregates, percentiles=percentiles, curve=curve)
    fresh = time.time() * 1000 - aggregates.as_of_ms < FRESH_MS
    counted = essence(view, without=CHANGING[fresh])
    return Rendered(msgspec.json.encode(view), tag_of(counted))

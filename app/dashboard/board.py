"""The content of the overview, made at most once a second for all who look."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial

import attrs
import jinja2
import structlog
from aiohttp import web

from app.context import Context
from app.dashboard.rendering import MatchRegions, Regions, render_regions
from app.dashboard.service import ServiceState, Throughput, service_state
from app.dashboard.views import MatchCard, cards
from app.engagement.views import metrics_view
from app.web.shared import Shared
from shards import MatchAggregates, StoreError

SAMPLE_INTERVAL_S = 1.0

_log = structlog.stdlib.get_logger(__name__)


@attrs.frozen(kw_only=True)
class OverviewPage:
    """The overview. ``matches`` is None while they cannot be read, and empty while there are none."""

    service: ServiceState
    matches: tuple[MatchCard, ...] | None
    as_of_ms: int


@attrs.define
class Board:
    """State of the dashboard: throughput samples, what was rendered last, and whether the streams are to end."""

    context: Context
    environment: jinja2.Environment
    match_regions: MatchRegions
    throughput: Throughput = attrs.field(factory=Throughput)
    closing: asyncio.Event = attrs.field(factory=asyncio.Event)
    _shown: frozenset[str] = frozenset()
    _overviews: Shared[None, tuple[OverviewPage, Regions]] = attrs.field(
        factory=lambda: Shared(max_age_s=SAMPLE_INTERVAL_S, keys_max=1)
    )

    def forget(self, match_ids: Collection[str]) -> None:
        """Forget what was rendered of matches that are erased, and the overview that shows one of them."""
        self.match_regions.forget(match_ids)
        if not self._shown.isdisjoint(match_ids):
            self._overviews.forget(lambda _: True)

    async def page(self) -> OverviewPage:
        """Return the overview, as :meth:`regions`."""
        page, _ = await self.regions()
        return page

    async def regions(self) -> tuple[OverviewPage, Regions]:
        """Return the overview and its HTML, at most a second old and made once for all who look.

        Works with ClickHouse away.
        """
        return await self._overviews.get(None, self._make)

    async def _make(self) -> tuple[OverviewPage, Regions]:
        page = await self._page()
        return page, await asyncio.to_thread(render_regions, self.environment, "overview", {"page": page})

    async def _page(self) -> OverviewPage:
        service = service_state(
            self.context.shards.snapshot(),
            per_second=self.throughput.per_second,
            p99_ms=self.context.response_times.overall()["p99"],
        )
        try:
            overview = await self.context.live.overview()
        except StoreError as error:
            _log.info("overview without matches", code=error.code, error=error.message)
            return OverviewPage(service=service, matches=None, as_of_ms=0)
        self._shown = frozenset(match.match_id for match in overview.matches)
        matches = await asyncio.to_thread(_cards, overview.matches)
        return OverviewPage(service=service, matches=matches, as_of_ms=int(overview.as_of.timestamp() * 1000))


def _cards(matches: Sequence[MatchAggregates]) -> tuple[MatchCard, ...]:
    return cards([(match, metrics_view(match)) for match in matches])


BOARD: web.AppKey[Board] = web.AppKey("board", Board)


async def sample_throughput(app: web.Application) -> AsyncIterator[None]:
    """Sample the number of events for as long as the application runs; for ``cleanup_ctx``."""
    board = app[BOARD]
    sampler = board.context.shards.watch.keep_running("throughput", partial(_sample, board))
    yield
    await sampler.close()


async def _sample(board: Board) -> None:
    while True:
        snapshot = board.context.shards.snapshot()
        if snapshot.recovered:
            board.throughput.sample(snapshot.appended)
        await asyncio.sleep(SAMPLE_INTERVAL_S)

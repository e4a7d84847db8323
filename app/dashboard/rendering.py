"""View models to HTML: a whole page, or its regions one by one for those who follow it.

A region is an element with ``data-region``; its content is one partial of the templates, in the page and in the
stream alike, so that a page kept current equals one loaded anew.
"""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from app.dashboard.views import MatchPage, match_page
from app.engagement.rendered import BUCKETS_AT_ONCE
from app.live import Message
from app.web.shared import Shared
from shards import MatchAggregates

MATCH_REGIONS = ("score", "state", "momentum", "figures", "curve", "minutes", "types", "teams", "feed", "times")
OVERVIEW_REGIONS = ("service", "matches")

MATCHES_REMEMBERED = 256

Regions = Mapping[str, str]


def templates_dir() -> Path:
    """Return where the templates are: inside the installed package, else beside it in the repository."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def environment_options() -> dict[str, Any]:
    """Return the options of the Jinja environment: everything is escaped, a name that is missing is an error."""
    return {
        "loader": jinja2.FileSystemLoader(templates_dir()),
        "autoescape": True,
        "undefined": jinja2.StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }


def render_regions(environment: jinja2.Environment, kind: str, context: Mapping[str, Any]) -> Regions:
    """Return the HTML of each region; ``kind`` is ``match`` or ``overview``."""
    names = MATCH_REGIONS if kind == "match" else OVERVIEW_REGIONS
    return {name: environment.get_template(f"partials/{kind}/{name}.html").render(**context).strip() for name in names}


def changed(regions: Regions, *, since: Regions) -> Regions:
    """Return the regions that differ from ``since``."""
    return {name: html for name, html in regions.items() if since.get(name) != html}


def encode_update(regions: Regions, *, as_of_ms: int) -> str:
    """Return the data of one ``update`` message: what changed, when the figures were counted, and the time now.

    The page tells their age from both, so that it is right again with the next message after a clock was set.
    """
    update = {"asOf": as_of_ms, "renderedAt": time.time_ns() // 1_000_000, "regions": regions}
    return json.dumps(update, ensure_ascii=False, separators=(",", ":"))


class MatchRegions:
    """The regions of watched matches, rendered once per answer, however many viewers get it now or later."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self._environment = environment
        self._latest: Shared[str, Regions] = Shared(
            keys_max=MATCHES_REMEMBERED, size_of=lambda regions: sum(map(len, regions.values()))
        )

    async def render(self, message: Message) -> Regions:
        """Return the regions of a ``metrics`` message."""
        make = partial(self._make, message)
        return await self._latest.get(message.value.match_id, make, version=message.value)

    def forget(self, match_ids: Collection[str]) -> None:
        """Forget matches that are erased."""
        self._latest.forget(match_ids.__contains__)

    async def _make(self, message: Message) -> Regions:
        page = await match_page_of(message.value, await message.json())
        return render_regions(self._environment, "match", {"page": page})


async def match_page_of(aggregates: MatchAggregates, metrics: bytes) -> MatchPage:
    """Return :func:`~app.dashboard.views.match_page`; ``metrics`` is the JSON of the API."""
    if len(aggregates.curve) > BUCKETS_AT_ONCE:
        return await asyncio.to_thread(_match_page_of, aggregates, metrics)
    return _match_page_of(aggregates, metrics)


def _match_page_of(aggregates: MatchAggregates, metrics: bytes) -> MatchPage:
    return match_page(aggregates, json.loads(metrics))

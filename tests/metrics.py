"""The metrics that the service has, as it declares them: what documents, alerts and panels are held against."""

from functools import cache
from typing import Any

import attrs

from app.observability.prometheus import Telemetry
from app.observability.readiness import readiness_of
from app.schemas.event_types import BUILT_IN_TYPES
from shards import ShardSnapshot, Snapshot
from tests.snapshots import snapshot

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@attrs.frozen
class Declared:
    """One metric: its name as a scrape has it, without a histogram's suffixes; its labels but for ``le``."""

    name: str
    type: str
    labels: frozenset[str]
    help: str

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query may use."""
        return tuple(self.name.removesuffix("_total") + suffix for suffix in SUFFIXES[self.type])


class _Nobody:
    """A hub of matches of which nothing is known."""

    caches: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    stale_answers = 0

    def active_matches(self) -> int:
        return 0

    def silent_feeds(self) -> tuple[int, float]:
        return 0, 0.0


class _Shards:
    """One shard with nothing in it."""

    def snapshot(self) -> Snapshot:
        fields = {field.name: 0 for field in attrs.fields(ShardSnapshot)}
        shard = ShardSnapshot(**fields | {"paused": None, "last_error": ""})
        return snapshot(shard)


@cache
def declared() -> dict[str, Declared]:
    """Every metric by its name."""
    telemetry = Telemetry(shards=1, event_types=BUILT_IN_TYPES)
    telemetry.requests.know([("GET", "/api/matches", 200)])
    telemetry.watch(
        shards=_Shards(),
        live=_Nobody(),
        readiness=lambda snapshot: readiness_of(snapshot, stopping=False, keys_trouble=""),
    )
    found = {}
    for metric in telemetry.registry.collect():
        name = metric.name + ("_total" if metric.type == "counter" else "")
        of_samples = {label for sample in metric.samples for label in sample.labels}
        labels = of_samples | set(getattr(metric, "_labelnames", ()))
        found[name] = Declared(name, metric.type, frozenset(labels - {"le"}), metric.documentation)
    return found


def all_series() -> frozenset[str]:
    """Every name that a query may use."""
    return frozenset(name for metric in declared().values() for name in metric.series)

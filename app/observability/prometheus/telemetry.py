"""All metrics together, and the registry that a scrape reads."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, disable_created_metrics

from app.observability.prometheus.events import EventCounts
from app.observability.prometheus.families import taken
from app.observability.prometheus.presence import Connections, LiveView, PresenceCollector, Viewers
from app.observability.prometheus.process import LoopLag, describe_process
from app.observability.prometheus.requests import RequestCounts
from app.observability.prometheus.state import ShardsView, StateCollector
from app.observability.prometheus.storing import StoringCounts
from app.observability.readiness import Readiness
from shards import Snapshot


class Telemetry:
    """Everything that is measured; each attribute takes one kind of measurements."""

    def __init__(self, *, shards: int, event_types: Iterable[str]) -> None:
        """Measure nothing yet; series of these shards and types of events exist from now on."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time of creation for each series would be a fifth of all lines
        self.registry = CollectorRegistry()
        self.requests = RequestCounts(self.registry)
        self.events = EventCounts(self.registry, event_types=event_types)
        self.storing = StoringCounts(self.registry, shards=shards)
        self.lag = LoopLag(self.registry)
        self.connections = Connections()
        self.viewers = Viewers()
        describe_process(self.registry)

    def taken(self) -> CollectorRegistry:
        """Return the values of this moment, which any thread may read."""
        return taken(self.registry)

    def watch(self, *, shards: ShardsView, live: LiveView, readiness: Callable[[Snapshot], Readiness]) -> None:
        """Read these at each scrape from now on. Call it once."""
        self.registry.register(StateCollector(shards, readiness))
        self.registry.register(PresenceCollector(self.connections, self.viewers, live, lambda: self.requests.in_flight))

"""Every Prometheus metric of the service, declared here and nowhere else; ``docs/METRICS.md`` is the table of them.

========================  ==============================================================================
``telemetry``             all of it together, and the registry
``requests``              HTTP requests: how many, how long, how they ended
``events``                events taken in and refused
``storing``               the log and ClickHouse: what happens there
``state``                 the log, the shards, ClickHouse and readiness, as they are at a scrape
``presence``              connections, viewers, caches and matches, as they are at a scrape
``process``               the process: its build, memory and files, and how late its event loop is
========================  ==============================================================================

No label may carry the id of a match, a player or an event. Values of ``path`` are templates of routes, values of
``event_type`` are known types, so the number of series is bounded. Series of known labels exist from the start, because
the first increment of one that appears later is in no rate.
"""

from app.observability.prometheus.presence import CacheCount, Connections, Viewers, Viewing
from app.observability.prometheus.telemetry import Telemetry

__all__ = ["CacheCount", "Connections", "Telemetry", "Viewers", "Viewing"]

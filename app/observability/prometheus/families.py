"""Metrics whose values are read at a scrape, and not counted before."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class AtScrape(ABC, Collector):
    """A collector that reads nothing when it is registered."""

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, because that would read everything."""
        return ()

    @abstractmethod
    def collect(self) -> Iterator[Metric]:
        """Yield the values of the moment."""


class _OfTheMoment(AtScrape):
    """Values that were taken before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        return iter(self._families)


def taken(registry: CollectorRegistry) -> CollectorRegistry:
    """Return a registry with the values of this moment, which any thread may read."""
    of_the_moment = CollectorRegistry()
    of_the_moment.register(_OfTheMoment(list(registry.collect())))
    return of_the_moment


def gauge(name: str, help_: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, help_, value=value)


def counter(name: str, help_: str, value: float) -> Metric:
    """Return a counter without labels; ``name`` is without ``_total``."""
    return CounterMetricFamily(name, help_, value=value)


def gauges(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a gauge with one label."""
    family = GaugeMetricFamily(name, help_, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def counters(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a counter with one label; ``name`` is without ``_total``."""
    family = CounterMetricFamily(name, help_, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family

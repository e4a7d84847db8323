"""Events per minute as bars: geometry in percent of the drawing, so that it fits every width. Pure functions."""

from collections.abc import Iterator, Sequence

import attrs

from app.dashboard.formats import time_of_day
from app.engagement.curves import PeakPeriod, peak_periods

MINUTE_MS = 60_000

CURVE_MINUTES = 150
"""Most minutes that the curve shows: a match with its break, extra time and shoot-out."""

CURVE_LEAST_MINUTES = 30
"""Fewest minutes that the curve spans, so that a match that just began does not fill it with three broad bars."""

SPARKLINE_MINUTES = 30
AXIS_LABELS = 5

PEAK_LEAST = 0.2
"""Least part of the largest excess that marks a peak period, because even a calm match has minutes above its mean."""


@attrs.frozen(kw_only=True)
class Bar:
    """One minute. ``x``, ``y``, ``width`` and ``height`` in percent; ``label`` is the time of day, UTC.

    ``peak`` is the busiest minute, ``in_peak`` one of a peak period that is marked.
    """

    x: float
    y: float
    width: float
    height: float
    count: int
    label: str
    peak: bool
    in_peak: bool = False


@attrs.frozen(kw_only=True)
class Band:
    """A peak period behind its bars. ``x`` and ``width`` in percent; ``began`` and ``ended`` are times of day, UTC."""

    x: float
    width: float
    began: str
    ended: str
    count: int


@attrs.frozen(kw_only=True)
class AxisLabel:
    """A time of day under the curve, ``x`` in percent."""

    x: float
    label: str
    anchor: str


@attrs.frozen
class DrawnSection:
    """A section on the drawing, in minutes of its width: where it begins, how long it is, and of which time it is.

    ``folded``: a break, drawn as one bar whatever its length.
    """

    slot: float
    slots: float
    start_ms: int
    end_ms: int
    label: str = ""
    folded: bool = False

    def slot_of(self, at_ms: int) -> float:
        """Return the slot of a moment, at its edge for one outside."""
        part = min(max(at_ms - self.start_ms, 0), self.end_ms - self.start_ms)
        if self.folded:
            return self.slot + self.slots * part / max(1, self.end_ms - self.start_ms)
        return self.slot + min(self.slots, part / MINUTE_MS)


@attrs.frozen(kw_only=True)
class Timeline:
    """Bars over a span of minutes.

    Attributes:
        start_ms: start of the first minute of the span.
        minutes: width of the span; ``100 / minutes`` is that of one minute.
        bars: minutes with events, in order; the busiest one (the first of equals) is the peak.
        bands: peak periods worth a mark, in order.
        left_out: events in minutes outside the span.
        sections: what the span is put together from, in order.
    """

    start_ms: int
    minutes: float
    bars: tuple[Bar, ...] = ()
    bands: tuple[Band, ...] = ()
    axis: tuple[AxisLabel, ...] = ()
    left_out: int = 0
    sections: tuple[DrawnSection, ...] = ()

    @property
    def peak(self) -> Bar | None:
        """The busiest minute."""
        return next((bar for bar in self.bars if bar.peak), None)

    def position(self, timestamp_ms: int) -> float | None:
        """Return where a moment's minute is, in percent, in its middle; None outside the span."""
        if self.sections:
            return percent_of(min(slot_of(self.sections, timestamp_ms) + 0.5, self.minutes), self.minutes)
        minute = (timestamp_ms - self.start_ms) // MINUTE_MS
        return percent_of(minute + 0.5, self.minutes) if 0 <= minute < self.minutes else None


def slot_of(sections: Sequence[DrawnSection], at_ms: int) -> float:
    """Return the slot of a moment among sections; of one before or behind them the first or last one."""
    return next((section for section in sections if at_ms < section.end_ms), sections[-1]).slot_of(at_ms)


def curve(by_minute: Sequence[tuple[int, int]]) -> Timeline:
    """Return the span of at most ``CURVE_MINUTES`` that holds the most events, by the time of day.

    These are not simply the last ones, because one event with a wrong clock must not push the match out of the picture.

    Args:
        by_minute: (start of the minute in ms, count), sorted; minutes without events may be missing.
    """
    if not by_minute:
        return Timeline(start_ms=0, minutes=CURVE_LEAST_MINUTES)
    shown = _busiest_span(by_minute, CURVE_MINUTES)
    minutes = max(CURVE_LEAST_MINUTES, (shown[-1][0] - shown[0][0]) // MINUTE_MS + 1)
    start_ms, periods = shown[0][0], marked_periods(by_minute)
    return Timeline(
        start_ms=start_ms,
        minutes=minutes,
        bars=_bars(shown, start_ms=start_ms, minutes=minutes, periods=periods),
        bands=tuple(_bands(periods, start_ms=start_ms, minutes=minutes)),
        axis=_axis(start_ms, minutes),
        left_out=sum(n for _, n in by_minute) - sum(n for _, n in shown),
    )


def sparkline(by_minute: Sequence[tuple[int, int]]) -> Timeline:
    """Return the last ``SPARKLINE_MINUTES`` of the curve."""
    shown = _busiest_span(by_minute, CURVE_MINUTES) if by_minute else ()
    if not shown:
        return Timeline(start_ms=0, minutes=SPARKLINE_MINUTES)
    start_ms = shown[-1][0] - (SPARKLINE_MINUTES - 1) * MINUTE_MS
    last = [(minute, n) for minute, n in shown if minute >= start_ms]
    bars = _bars(last, start_ms=start_ms, minutes=SPARKLINE_MINUTES)
    return Timeline(start_ms=start_ms, minutes=SPARKLINE_MINUTES, bars=bars)


def _busiest_span(by_minute: Sequence[tuple[int, int]], minutes: int) -> Sequence[tuple[int, int]]:
    """Return the minutes of the span with the most events, the later one of equals."""
    first = events = most = 0
    best = slice(0, 0)
    for last, (minute, count) in enumerate(by_minute):
        events += count
        while minute - by_minute[first][0] >= minutes * MINUTE_MS:
            events -= by_minute[first][1]
            first += 1
        if events >= most:
            most, best = events, slice(first, last + 1)
    return by_minute[best]


def marked_periods(by_minute: Sequence[tuple[int, int]]) -> list[PeakPeriod]:
    """Return the peak periods that stand out, in order."""
    periods = peak_periods(by_minute)
    standing_out = [period for period in periods if period.excess >= PEAK_LEAST * periods[0].excess]
    return sorted(standing_out, key=lambda period: period.start_ms)


def _bands(periods: Sequence[PeakPeriod], *, start_ms: int, minutes: int) -> Iterator[Band]:
    """Yield the periods as far as they lie within the span."""
    for period in periods:
        first = max(0, (period.start_ms - start_ms) // MINUTE_MS)
        last = min(minutes, (period.end_ms - start_ms) // MINUTE_MS)
        if first < last:
            yield Band(
                x=percent_of(first, minutes),
                width=percent_of(last - first, minutes),
                began=time_of_day(period.start_ms),
                ended=time_of_day(period.end_ms),
                count=period.count,
            )


def _bars(
    shown: Sequence[tuple[int, int]], *, start_ms: int, minutes: int, periods: Sequence[PeakPeriod] = ()
) -> tuple[Bar, ...]:
    highest = max(count for _, count in shown)
    peak_ms = next(minute for minute, count in shown if count == highest)
    gap = 0.2
    return tuple(
        Bar(
            x=percent_of((minute - start_ms) // MINUTE_MS + gap / 2, minutes),
            y=percent_of(highest - count, highest),
            width=percent_of(1 - gap, minutes),
            height=percent_of(count, highest),
            count=count,
            label=time_of_day(minute),
            peak=minute == peak_ms,
            in_peak=any(period.start_ms <= minute < period.end_ms for period in periods),
        )
        for minute, count in shown
    )


def _axis(start_ms: int, minutes: int) -> tuple[AxisLabel, ...]:
    steps = [minutes * step // (AXIS_LABELS - 1) for step in range(AXIS_LABELS)]
    anchors = ["start", *["middle"] * (AXIS_LABELS - 2), "end"]
    return tuple(
        AxisLabel(x=percent_of(step, minutes), label=time_of_day(start_ms + step * MINUTE_MS), anchor=anchor)
        for step, anchor in zip(steps, anchors, strict=True)
    )


def percent_of(part: float, whole: float) -> float:
    """Return a part of a whole in percent."""
    return round(100 * part / whole, 3)

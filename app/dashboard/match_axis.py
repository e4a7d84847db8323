"""The curve of a match on the axis of match minutes, its breaks folded to thin bands. Pure functions."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from app.dashboard.formats import match_minute_text, time_of_day
from app.dashboard.timeline import (
    CURVE_LEAST_MINUTES,
    MINUTE_MS,
    AxisLabel,
    Band,
    Bar,
    DrawnSection,
    Timeline,
    curve,
    marked_periods,
    percent_of,
    slot_of,
)
from app.engagement.axis import Section, section_at, sections_of
from app.engagement.clock import MatchStanding
from app.engagement.curves import PeakPeriod
from app.engagement.minutes import BEGINS_AT

FOLDED_SLOTS: Final = 3
"""Width of a break, in minutes of play."""

MINUTES_MAX: Final = 300
"""Most minutes of a match that are drawn on its own axis; a longer one is drawn by the time of day."""

LABEL_EVERY: Final = 15
LABEL_ROOM: Final = 7.0
"""Width of a label, in percent."""

UNNAMED: Final = ("before", "finished")
"""Phases at the edges, whose bars have a name and no label."""

HALF: Final = 45
GAP: Final = 0.2
FOLDED: Final = {
    "before": "Before",
    "half_time": "HT",
    "extra_time_break": "Break",
    "suspended": "Suspended",
    "finished": "After",
    "shootout": "PENS",
}


def match_curve(by_minute: Sequence[tuple[int, int]], standing: MatchStanding) -> Timeline:
    """Return the curve of a match on its own axis; by the time of day where it has none.

    Args:
        by_minute: (start of the minute in ms, count), sorted.
        standing: of the match.
    """
    if not by_minute:
        return curve(by_minute)
    sections = sections_of(standing, first_ms=by_minute[0][0], last_ms=by_minute[-1][0] + MINUTE_MS - 1)
    drawing = _Drawing(sections, standing)
    if not sections or drawing.slots > MINUTES_MAX:
        return curve(by_minute)
    periods = marked_periods(by_minute)
    return Timeline(
        start_ms=sections[0].start_ms,
        minutes=drawing.slots,
        bars=drawing.bars(by_minute, periods),
        bands=tuple(drawing.bands(periods)),
        axis=tuple(drawing.labels()),
        sections=drawing.sections,
    )


class _Drawing:
    """The sections of a match, each in its place; a slot is as wide as a minute of play."""

    def __init__(self, sections: Sequence[Section], standing: MatchStanding) -> None:
        self._standing = standing
        self._places: dict[Section, DrawnSection] = {}
        slot = 0.0
        for section in sections:
            folded = section.period is None
            slots = FOLDED_SLOTS if folded else max(1, math.ceil((section.end_ms - section.start_ms) / MINUTE_MS))
            name = FOLDED.get(section.phase, "")
            self._places[section] = DrawnSection(slot, slots, section.start_ms, section.end_ms, name, folded)
            slot += slots
        self.slots = max(CURVE_LEAST_MINUTES, slot)

    @property
    def sections(self) -> tuple[DrawnSection, ...]:
        return tuple(self._places.values())

    def bars(self, by_minute: Sequence[tuple[int, int]], periods: Sequence[PeakPeriod]) -> tuple[Bar, ...]:
        drawn: dict[tuple[float, float], _DrawnBar] = {}
        for minute_ms, count in by_minute:
            slot, width, label = self._place(minute_ms)
            drawn.setdefault((slot, width), _DrawnBar(label, folded=width > 1)).take(minute_ms, count)
        highest = max(bar.height for bar in drawn.values())
        peak = next(bar for bar in drawn.values() if bar.height == highest)
        return tuple(
            Bar(
                x=percent_of(slot + GAP / 2, self.slots),
                y=percent_of(highest - bar.height, highest),
                width=percent_of(width - GAP, self.slots),
                height=percent_of(bar.height, highest),
                count=bar.count,
                label=bar.label,
                peak=bar is peak,
                in_peak=bar.is_in(periods),
            )
            for (slot, width), bar in sorted(drawn.items())
        )

    def _place(self, minute_ms: int) -> tuple[float, float, str]:
        """Return slot and width of a minute's bar, and its name."""
        middle_ms = minute_ms + MINUTE_MS // 2
        section = section_at(tuple(self._places), middle_ms)
        drawn = self._places[section]
        if drawn.folded:
            return drawn.slot, drawn.slots, drawn.label
        told = self._standing.minute_at(middle_ms)
        slot = min(math.floor(drawn.slot_of(middle_ms)), drawn.slot + drawn.slots - 1)
        return slot, 1.0, match_minute_text(*told[:2]) if told else time_of_day(minute_ms)

    def bands(self, periods: Sequence[PeakPeriod]) -> Iterator[Band]:
        for period in periods:
            first, last = slot_of(self.sections, period.start_ms), slot_of(self.sections, period.end_ms)
            if first < last:
                yield Band(
                    x=percent_of(first, self.slots),
                    width=percent_of(last - first, self.slots),
                    began=time_of_day(period.start_ms),
                    ended=time_of_day(period.end_ms),
                    count=period.count,
                )

    def labels(self) -> Iterator[AxisLabel]:
        """Yield the names of breaks, and the minutes of play at every quarter of an hour, as far as there is room."""
        last = -LABEL_ROOM
        for label in self._wished():
            if label.x - last >= LABEL_ROOM:
                yield label
                last = label.x

    def _wished(self) -> Iterator[AxisLabel]:
        seen: set[int] = set()
        for section, drawn in self._places.items():
            number = section.period.number if section.period else 0
            if section.phase in UNNAMED:
                continue
            if number not in BEGINS_AT:
                yield self._label(drawn.slot if drawn.slot == 0 else drawn.slot + drawn.slots / 2, drawn.label)
            elif number not in seen:
                seen.add(number)
                yield from self._minutes(number, drawn)

    def _minutes(self, number: int, drawn: DrawnSection) -> Iterator[AxisLabel]:
        # At the start of a later half the name of the break stands.
        for minute in range(0 if number == 1 else LABEL_EVERY, min(int(drawn.slots) - 1, HALF), LABEL_EVERY):
            yield self._label(drawn.slot + minute, match_minute_text(BEGINS_AT[number] + minute))

    def _label(self, slot: float, text: str) -> AxisLabel:
        return AxisLabel(x=percent_of(slot, self.slots), label=text, anchor="start" if slot == 0 else "middle")


@attrs.define(eq=False)
class _DrawnBar:
    """A bar that is being put together: a minute of play, or a ``folded`` break, as high as its mean minute."""

    label: str
    folded: bool
    count: int = 0
    minutes: list[int] = attrs.field(factory=list)

    @property
    def height(self) -> float:
        return self.count / len(self.minutes) if self.folded else float(self.count)

    def take(self, minute_ms: int, count: int) -> None:
        self.minutes.append(minute_ms)
        self.count += count

    def is_in(self, periods: Sequence[PeakPeriod]) -> bool:
        return any(period.start_ms <= minute < period.end_ms for period in periods for minute in self.minutes)

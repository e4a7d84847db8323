"""Token buckets: what is never exceeded, and that a time to wait holds."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access import limits
from app.access.limits import BURST_S, RateLimit, Standing

S = 1_000_000_000


@attrs.define
class Clock:
    ns: int = 5 * S

    def __call__(self) -> int:
        return self.ns


def limit(rate: int, clock: Clock) -> RateLimit:
    return RateLimit("key", rate, clock_ns=clock)


RATES = st.integers(1, 2_000)
STEPS = st.lists(st.tuples(st.integers(0, 3 * S), st.integers(1, 6_000)), min_size=1, max_size=60)


def test_a_burst_of_two_seconds_then_the_rate() -> None:
    clock = Clock()
    bucket = limit(3, clock)
    assert bucket.standing("a") == Standing(6, 0)
    assert [bucket.take("a", 1) for _ in range(7)] == [0] * 6 + [1]
    assert bucket.standing("a") == Standing(0, 2)
    assert bucket.take("b", 6) == 0
    clock.ns += S // 3
    assert bucket.take("a", 1) == 1  # a third of a second is 333,333,333.3 ns
    clock.ns += 1
    assert bucket.take("a", 1) == 0
    assert bucket.take("a", 4) == 2
    clock.ns += 100 * S
    assert bucket.take("a", 7) == 0  # more than a burst, when the bucket is full
    assert bucket.standing("a") == Standing(0, 3)


def test_a_time_to_wait_without_knowing_the_request_is_that_to_a_full_bucket() -> None:
    clock = Clock()
    bucket = limit(10, clock)
    assert bucket.wait_s("a") == 0
    bucket.take("a", 19)
    assert bucket.wait_s("a") == 0
    bucket.take("a", 1)
    assert bucket.wait_s("a") == 2
    clock.ns += 2 * S
    assert bucket.take("a", 50_000) == 0
    assert bucket.wait_s("a") == 5_000


@given(RATES, STEPS)
def test_never_more_than_a_burst_and_the_rate(rate: int, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    bucket, burst = limit(rate, clock), BURST_S * rate
    taken: list[tuple[int, int]] = []
    for pause_ns, events in steps:
        clock.ns += pause_ns
        if events <= burst and bucket.take("a", events) == 0:
            taken.append((clock.ns, events))
    for first, (began_ns, _) in enumerate(taken):
        total = 0
        for ns, events in taken[first:]:
            total += events
            assert total * S <= burst * S + rate * (ns - began_ns)


@given(RATES, STEPS)
def test_in_the_long_run_no_more_than_the_rate_even_of_too_large_requests(
    rate: int, steps: list[tuple[int, int]]
) -> None:
    clock = Clock()
    bucket, burst = limit(rate, clock), BURST_S * rate
    began_ns, total = clock.ns, 0
    for pause_ns, events in steps:
        clock.ns += pause_ns
        if bucket.take("a", events) == 0:
            assert total * S <= burst * S + rate * (clock.ns - began_ns)  # before this one
            total += events


@given(RATES, STEPS, st.integers(1, 60_000))
def test_what_comes_after_the_time_to_wait_is_taken(rate: int, steps: list[tuple[int, int]], events: int) -> None:
    clock = Clock()
    bucket = limit(rate, clock)
    for pause_ns, some in steps:
        clock.ns += pause_ns
        bucket.take("a", some)
    for wait_s in (bucket.wait_s("a"), bucket.take("a", events)):
        if wait_s:
            assert bucket.take("a", events) > 0
            clock.ns += wait_s * S
            assert bucket.take("a", events) == 0
            return


@given(RATES, STEPS)
def test_what_is_reserved_keeps_the_rate_if_it_waits(rate: int, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    bucket, burst = limit(rate, clock), BURST_S * rate
    began_ns, total = clock.ns, 0
    for pause_ns, events in steps:
        clock.ns += pause_ns
        used_ns = clock.ns + bucket.reserve("a", events) * S
        total += events
        assert total * S <= burst * S + rate * (used_ns - began_ns) + S / 1e3


def test_a_request_that_was_refused_costs_one_token_also_where_there_is_none() -> None:
    clock = Clock()
    bucket = limit(1, clock)
    for _ in range(3):
        bucket.charge("a")
    assert bucket.standing("a") == Standing(0, 3)


def test_the_one_that_asked_least_recently_is_forgotten_and_one_at_its_limit_that_goes_on_asking_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "NAMES_MAX", 4)
    bucket = limit(1, Clock())
    for name in ("limited", "silent"):
        assert bucket.take(name, 2) == 0
    for number in range(10):
        assert bucket.take(f"other-{number}", 1) == 0
        assert bucket.take("limited", 1) == 1
    assert bucket.take("silent", 2) == 0

"""Time and order of receipts, with clocks that are set while they are looked at."""

import pytest

from shards.clock import AHEAD_MAX_MS, HEADROOM_NS, RESERVE_AHEAD_NS, ReceiptClock
from tests.clocks import Clocks
from tests.logged import lines_of

S_NS = 1_000_000_000
HOUR_S = 3_600
HOUR_MS = HOUR_S * 1_000
QUIET_MS = 15 * 60 * 1_000


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks.instead_of_the_machines(monkeypatch)


@pytest.fixture
def clock(clocks: Clocks) -> ReceiptClock:
    return ReceiptClock()


def steps(caplog: pytest.LogCaptureFixture) -> list[float]:
    """The seconds of each step that was logged."""
    return [line["seconds"] for line in lines_of(caplog, "wall clock stepped")]


def test_the_time_of_receipt_is_the_wall_clocks(clock: ReceiptClock, clocks: Clocks) -> None:
    for step_s in (0, 0, HOUR_S, -2 * HOUR_S, 30 * 24 * HOUR_S):
        clocks.set_wall(step_s)
        assert clock.now_ns() == clocks.wall_ns


def test_the_order_follows_the_wall_clock_and_never_repeats_or_goes_back(clock: ReceiptClock, clocks: Clocks) -> None:
    first = clock.order_ns()
    assert first == clocks.wall_ns
    assert clock.order_ns() == first + 1, "the wall clock stands still"
    clocks.set_wall(-HOUR_S)
    assert clock.order_ns() == first + 2
    clocks.go_on(2 * HOUR_S)
    assert clock.order_ns() == clocks.wall_ns == clock.last_ns


def test_no_order_reaches_beyond_what_is_reserved_however_far_the_wall_clock_jumps(
    clock: ReceiptClock, clocks: Clocks
) -> None:
    assert clock.to_reserve_ns() == clocks.wall_ns + RESERVE_AHEAD_NS
    assert RESERVE_AHEAD_NS == 60 * S_NS, "as DATA_DIRECTORY says"
    clock.reserve(reserved := clock.to_reserve_ns())
    before = clock.order_ns()
    clocks.set_wall(HOUR_S)
    assert [clock.order_ns() for _ in range(3)] == [before + 1, before + 2, before + 3]
    assert clock.reserved_ns == reserved
    clock.reserve(clock.to_reserve_ns())
    assert clock.order_ns() == clocks.wall_ns, "it follows the clock again once that is reserved"


def test_orders_go_on_within_the_reservation_where_no_other_one_comes(clock: ReceiptClock, clocks: Clocks) -> None:
    clock.reserve(reserved := clock.to_reserve_ns())
    for _ in range(2 * RESERVE_AHEAD_NS // S_NS):
        clocks.go_on(1)
        last = clock.order_ns()
    assert reserved - RESERVE_AHEAD_NS < last <= reserved - HEADROOM_NS + 2 * RESERVE_AHEAD_NS // S_NS


def test_a_checkpoint_reserves_no_less_than_the_one_that_it_replaces(clock: ReceiptClock, clocks: Clocks) -> None:
    """Between the two the clock was set back. Orders up to the first reservation may come yet, and a start sees one."""
    clocks.set_wall(HOUR_S)
    clock.reserve(clock.to_reserve_ns())
    clocks.set_wall(-HOUR_S)
    clock.reserve(on_disk := clock.to_reserve_ns())
    clocks.set_wall(HOUR_S)
    given = clock.order_ns()
    again = ReceiptClock()
    again.raise_to(on_disk)
    clocks.set_wall(-HOUR_S)
    assert again.order_ns() > given


def test_a_start_gives_out_no_order_of_before(clock: ReceiptClock, clocks: Clocks) -> None:
    clocks.set_wall(HOUR_S)
    clock.reserve(clock.to_reserve_ns())
    given = [clock.order_ns() for _ in range(3)]
    clocks.set_wall(-HOUR_S)

    again = ReceiptClock()
    again.raise_to(clock.reserved_ns)
    again.reserve(again.to_reserve_ns())
    assert again.order_ns() > max(*given, clock.reserved_ns)
    assert again.to_reserve_ns() == again.last_ns + RESERVE_AHEAD_NS


def test_an_order_that_is_not_reserved_is_risen_above_with_the_next_reservation(
    clock: ReceiptClock, clocks: Clocks
) -> None:
    clock.reserve(clock.to_reserve_ns())
    stored = clocks.wall_ns + HOUR_S * S_NS
    clock.raise_to(stored)
    assert clock.order_ns() < clock.reserved_ns < stored
    clock.reserve(clock.to_reserve_ns())
    assert stored < clock.order_ns() < clock.reserved_ns
    clock.raise_to(stored)
    assert clock.order_ns() > stored + 1, "one that was passed has no effect"


@pytest.mark.parametrize("reserved", [True, False], ids=["within a reservation", "while nothing is reserved"])
def test_an_order_is_risen_above_at_once(clock: ReceiptClock, clocks: Clocks, reserved: bool) -> None:
    if reserved:
        clock.reserve(clock.to_reserve_ns())
    seen = clocks.wall_ns + RESERVE_AHEAD_NS // 2
    clock.raise_to(seen)
    assert clock.last_ns == seen
    assert clock.order_ns() == seen + 1


def test_of_several_orders_that_are_not_reserved_the_largest_counts(clock: ReceiptClock, clocks: Clocks) -> None:
    clock.reserve(clock.to_reserve_ns())
    stored = clocks.wall_ns + HOUR_S * S_NS
    for order_ns in (stored, stored - 1, clocks.wall_ns):
        clock.raise_to(order_ns)
    assert clock.to_reserve_ns() == stored + RESERVE_AHEAD_NS
    clock.reserve(clock.to_reserve_ns())
    assert clock.order_ns() > stored


def test_what_is_reserved_lies_above_what_was_given_out_also_where_the_clock_was_set_back(
    clock: ReceiptClock, clocks: Clocks
) -> None:
    given = clock.order_ns()
    clocks.set_wall(-HOUR_S)
    assert clock.to_reserve_ns() == given + RESERVE_AHEAD_NS
    clock.reserve(clock.to_reserve_ns())
    assert given < clock.order_ns() <= clock.reserved_ns


def test_a_reservation_is_never_taken_back(clock: ReceiptClock, clocks: Clocks) -> None:
    clock.reserve(reserved := clock.to_reserve_ns())
    clock.reserve(reserved - 1)
    assert clock.reserved_ns == reserved


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S, 1, -1])
def test_a_step_is_logged_once_with_its_seconds(
    clock: ReceiptClock, clocks: Clocks, caplog: pytest.LogCaptureFixture, seconds: int
) -> None:
    clocks.go_on(30)
    clock.now_ns()
    clocks.set_wall(seconds)
    for _ in range(5):
        clock.order_ns()
        clocks.go_on(3)
    assert steps(caplog) == [seconds]


def test_a_process_that_is_stopped_between_two_looks_sees_no_step(
    clock: ReceiptClock, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    clocks.go_on(30)
    clocks.stopped_s = 5
    clock.now_ns()
    assert clocks.stopped_s == 0
    clock.now_ns()
    assert steps(caplog) == []


def test_a_clock_that_is_slewed_or_looked_at_rarely_makes_no_step(
    clock: ReceiptClock, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1_000):
        clocks.go_on(10)
        clocks.set_wall(0.005)
        clock.now_ns()
    clocks.go_on(24 * HOUR_S)
    clock.now_ns()
    assert steps(caplog) == []


@pytest.mark.parametrize("step_s", [0, HOUR_S, -HOUR_S, 30 * 24 * HOUR_S])
def test_the_time_since_a_receipt_is_what_passed_and_no_step(clock: ReceiptClock, clocks: Clocks, step_s: int) -> None:
    clocks.go_on(60)
    received_ms = clock.now_ns() // 1_000_000
    clocks.go_on(20)
    clocks.set_wall(step_s)
    assert clock.elapsed_ms(received_ms) == 20_000
    clocks.go_on(20)
    assert clock.elapsed_ms(received_ms) == 40_000


def test_of_a_time_that_the_clock_showed_twice_the_first_counts(clock: ReceiptClock, clocks: Clocks) -> None:
    clocks.go_on(2 * HOUR_S)
    received_ms = clock.now_ns() // 1_000_000
    clocks.go_on(HOUR_S)
    clock.now_ns()
    clocks.set_wall(-HOUR_S)
    clock.now_ns()
    clocks.go_on(60)
    assert clock.elapsed_ms(received_ms) == HOUR_MS + 60_000


def test_what_lies_far_ahead_was_received_at_the_start_at_the_latest(clock: ReceiptClock, clocks: Clocks) -> None:
    clocks.go_on(300)
    now_ms = clocks.wall_ns // 1_000_000
    assert clock.elapsed_ms(now_ms + HOUR_MS) == 300_000
    assert clock.elapsed_ms(now_ms + AHEAD_MAX_MS) == 0, "the clock of another service is a little ahead"
    assert clock.elapsed_ms(now_ms - HOUR_MS) == HOUR_MS, "before the start"


@pytest.mark.parametrize(("step_s", "expected_ms"), [(0, -QUIET_MS), (HOUR_S, -QUIET_MS - HOUR_MS), (-HOUR_S, -60_000)])
def test_the_earliest_time_that_was_shown_lately_may_lie_before_a_step(
    clock: ReceiptClock, clocks: Clocks, step_s: int, expected_ms: int
) -> None:
    clocks.go_on(2 * HOUR_S)
    clock.now_ns()
    clocks.set_wall(step_s)
    clock.now_ns()
    clocks.go_on(60)
    assert clock.earliest_ms(QUIET_MS) - clocks.wall_ns // 1_000_000 == expected_ms


def test_a_clock_that_has_given_out_and_reserved_nothing_says_so(clock: ReceiptClock) -> None:
    assert (clock.last_ns, clock.reserved_ns) == (0, 0)
    clock.reserve(reserved := clock.to_reserve_ns())
    assert (clock.last_ns, clock.reserved_ns) == (0, reserved)


def test_orders_follow_the_wall_clock_up_to_the_headroom_of_the_reservation(
    clock: ReceiptClock, clocks: Clocks
) -> None:
    clock.reserve(clock.to_reserve_ns())
    clocks.go_on((RESERVE_AHEAD_NS - HEADROOM_NS) // S_NS)
    assert clock.order_ns() == clocks.wall_ns == clock.reserved_ns - HEADROOM_NS
    clocks.go_on(1)
    assert clock.order_ns() == clock.reserved_ns - HEADROOM_NS + 1


@pytest.mark.parametrize("days", [1, 400])
def test_the_earliest_time_is_exact_however_far_back(clock: ReceiptClock, clocks: Clocks, days: int) -> None:
    clocks.go_on(500 * 24 * HOUR_S)
    within_ms = days * 24 * HOUR_MS
    assert clock.earliest_ms(within_ms) == clocks.wall_ns // 1_000_000 - within_ms


def test_an_order_is_risen_above_at_once_only_if_the_headroom_stays_reserved(
    clock: ReceiptClock, clocks: Clocks
) -> None:
    clock.reserve(clock.to_reserve_ns())
    last = clock.reserved_ns - HEADROOM_NS
    clock.raise_to(last + 1)
    assert clock.last_ns == 0
    clock.reserve(clock.to_reserve_ns())
    assert clock.last_ns == last + 1
    clock.raise_to(clock.reserved_ns - HEADROOM_NS)
    assert clock.last_ns == clock.reserved_ns - HEADROOM_NS


def test_what_was_received_before_the_machine_was_started_is_as_old_as_it_is(
    clock: ReceiptClock, clocks: Clocks
) -> None:
    assert clock.earliest_ms(QUIET_MS) == clocks.wall_ns // 1_000_000 - QUIET_MS
    received_ms = clocks.wall_ns // 1_000_000 - HOUR_MS
    clocks.set_wall(HOUR_S)
    assert clock.elapsed_ms(received_ms) == HOUR_MS


def test_each_of_several_steps_counts(clock: ReceiptClock, clocks: Clocks) -> None:
    received = []
    for _ in range(3):
        clocks.go_on(20)
        received.append(clock.now_ns() // 1_000_000)
        clocks.go_on(20)
        clocks.set_wall(HOUR_S)
        clock.now_ns()
    assert [clock.elapsed_ms(received_ms) for received_ms in received] == [100_000, 60_000, 20_000]


def test_what_lies_far_ahead_is_as_old_as_the_process_however_old_that_is(clock: ReceiptClock, clocks: Clocks) -> None:
    clocks.go_on(30 * 24 * HOUR_S)
    assert clock.elapsed_ms(clocks.wall_ns // 1_000_000 + HOUR_MS) == 30 * 24 * HOUR_MS


def test_the_earliest_time_knows_a_step_that_nobody_else_has_seen(clock: ReceiptClock, clocks: Clocks) -> None:
    clocks.go_on(2 * HOUR_S)
    clocks.set_wall(-HOUR_S)
    assert clock.earliest_ms(QUIET_MS) == clocks.wall_ns // 1_000_000


def test_the_steady_clock_is_looked_at_once_a_second(
    clock: ReceiptClock, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = 0, Clocks._look

    def counted(self: Clocks) -> int:
        nonlocal looks
        looks += 1
        return look(self)

    monkeypatch.setattr(Clocks, "_look", counted)
    for seconds in range(10):
        for _ in range(5):
            clock.order_ns()
        assert looks == seconds
        clocks.go_on(1)

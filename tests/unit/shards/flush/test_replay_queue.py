"""Rows to be sent again: in order, and after a failure not at once."""

from shards.flush.replay_queue import ReplayQueue


def test_rows_come_in_order_until_they_are_done_with() -> None:
    queue = ReplayQueue()
    assert queue.delay_s is None
    queue.extend([5, 6])
    queue.extend([1, 2])
    assert queue.delay_s <= 0
    assert list(queue) == [5, 6, 1, 2]
    queue.forget({6, 2}.__contains__)
    assert list(queue) == [6, 1, 2], "only from the front: what is behind is passed over when it is taken"
    queue.forget(set[int]().__contains__)
    assert (len(queue), queue.delay_s) == (0, None)


def test_failures_make_all_of_them_wait() -> None:
    queue = ReplayQueue()
    queue.extend([1])
    queue.note_failure()
    queue.extend([2])
    assert queue.failures == 1
    assert queue.delay_s is not None
    assert queue.delay_s > 0
    queue.note_failure()
    assert queue.failures == 2
    queue.note_success()
    assert queue.failures == 0
    assert queue.delay_s <= 0


def test_rows_are_put_behind_the_others_in_their_order() -> None:
    queue = ReplayQueue()
    queue.extend([4, 1, 3, 2])
    queue.postpone([1, 4, 9])
    assert list(queue) == [3, 2, 4, 1]

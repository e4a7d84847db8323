"""The pause before another try."""

from shards.tasks.backoff import backoff_s


def test_pauses_double_from_a_tenth_of_a_second_up_to_two_and_are_cut_by_up_to_half_at_random() -> None:
    for tries, longest_s in ((0, 0.1), (1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (5, 2.0), (10, 2.0), (5000, 2.0)):
        drawn = [backoff_s(tries) for _ in range(2000)]
        assert longest_s / 2 <= min(drawn) < 0.6 * longest_s
        assert 0.9 * longest_s < max(drawn) <= longest_s

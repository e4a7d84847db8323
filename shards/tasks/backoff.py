"""The pause before another try."""

import random

BACKOFF_FIRST_S = 0.1


BACKOFF_MAX_S = 2.0


def backoff_s(tries: int) -> float:
    """Return the seconds to wait before try number ``tries`` + 1: exponential, capped, times a random 0.5 to 1."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1.0)

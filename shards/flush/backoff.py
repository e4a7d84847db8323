"""How long to wait before trying again."""

import random

BACKOFF_FIRST_S = 0.1


BACKOFF_MAX_S = 2.0


def backoff_s(tries: int) -> float:
    """Return how long to wait before try number ``tries`` + 1: exponential, capped, with full jitter above a half."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1.0)

"""How many events a second each key, and each address without one, may send: token buckets."""

import time
from collections.abc import Callable
from typing import Final

import attrs
from cachetools import LRUCache

from shards import RepeatedLines

BURST_S: Final = 2
"""Seconds of the rate that may come at once."""

NAMES_MAX: Final = 65_536
"""The most keys or addresses that are remembered.

The one that asked least recently is forgotten first, refused ones too, so one that goes on asking never is. What is
forgotten begins anew with a full bucket. That is of no use to somebody with many addresses: to have one forgotten
takes a request from each of 65,536 others, every one of which may send a whole burst by itself. And without its
keeping a bucket is full again soon: after 2 s, or as much later as its last request was too large.
"""

_S: Final = 1_000_000_000


@attrs.frozen
class Standing:
    """The state of a bucket, as replies tell it.

    Attributes:
        left: events that would be taken now.
        full_in_s: whole seconds until the bucket is full, if nothing more comes.
    """

    left: int
    full_in_s: int


class RateLimit:
    """A bucket for each name: `BURST_S` seconds of the rate fit in, and each event takes one token out.

    Over any time t no more than burst + rate · t events are taken, each request that is larger than the whole burst
    aside: it is taken when the bucket is full, and what it took too much has to flow back first. All arithmetic is in
    whole numbers (events · ns), so that a time to wait holds to the nanosecond.
    """

    def __init__(self, policy: str, rate: int, *, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Begin with full buckets.

        Args:
            policy: name of the limit for clients.
            rate: events a second, at least 1.
            clock_ns: a clock that never goes back.
        """
        self.policy = policy
        self.rate = rate
        self.burst = BURST_S * rate
        self._clock_ns = clock_ns
        self._full_at: LRUCache[str, int] = LRUCache(NAMES_MAX)
        """By name the moment when the bucket is full, in ns times the rate."""

    def wait_s(self, name: str) -> int:
        """Return 0 if a bucket has a token, else the seconds after which any request is taken: until it is full."""
        owed, _ = self._owed(name)
        return 0 if owed + _S <= self.burst * _S else self._seconds(owed)

    def take(self, name: str, events: int) -> int:
        """Take tokens for some events and return 0; or take none, and return the seconds after which they are there."""
        owed, now = self._owed(name)
        short = owed + (min(events, self.burst) - self.burst) * _S
        if short > 0:
            return self._seconds(short)
        self._full_at[name] = now + owed + events * _S
        return 0

    def reserve(self, name: str, events: int) -> float:
        """Take tokens for some events in any case; return the seconds after which these may be used."""
        owed, now = self._owed(name)
        self._full_at[name] = now + owed + events * _S
        return max(0, owed + (events - self.burst) * _S) / (self.rate * _S)

    def charge(self, name: str) -> None:
        """Take one token, which may be owed then."""
        self.reserve(name, 1)

    def standing(self, name: str) -> Standing:
        """Return the state of a bucket."""
        owed, _ = self._owed(name)
        return Standing(max(0, (self.burst * _S - owed) // _S), self._seconds(owed))

    def _owed(self, name: str) -> tuple[int, int]:
        """Return what is missing in a bucket in events · ns, and the time in ns times the rate."""
        now = self._clock_ns() * self.rate
        return max(0, self._full_at.get(name, 0) - now), now

    def _seconds(self, short: int) -> int:
        return -(-short // (self.rate * _S))


@attrs.define
class Limits:
    """The limits that are in force; None where there is none.

    Attributes:
        keys: by the name of a key.
        addresses: by the address of a client without a key, as `app.access.addresses.limited_as` names it.
        strangers: lines about requests that were refused because nobody knows their address.
    """

    keys: RateLimit | None
    addresses: RateLimit | None
    strangers: RepeatedLines = attrs.field(factory=RepeatedLines)

    @classmethod
    def of_rates(cls, keys: int, addresses: int) -> "Limits":
        """Return the limits of these events a second, 0 for none."""
        return cls(
            RateLimit("key", keys) if keys else None,
            RateLimit("address", addresses) if addresses else None,
        )

"""Time limits for clients that are slow, silent or gone."""

import attrs


@attrs.frozen(kw_only=True)
class Timeouts:
    """Seconds after which a connection is cut off. A body has its own `Pace`.

    Attributes:
        idle_s: silence before a request; longer than the 60 s for which balancers reuse connections.
        head_s: from the first byte of a request to the end of its headers.
        linger_s: reading the rest of a body after its request was answered.
        unread_s: answers that wait to be taken by the client.
    """

    idle_s: float = 75.0
    head_s: float = 15.0
    linger_s: float = 10.0
    unread_s: float = 30.0


@attrs.frozen(kw_only=True)
class Pace:
    """Slowest pace of a body: ``min_bytes`` as sent, or its end, in every ``within_s`` seconds of waiting for it."""

    min_bytes: int = 1024
    within_s: float = 30.0


class Waiting:
    """The wait for one body, without the time that the service itself takes."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._missing = pace.min_bytes
        self.left_s = pace.within_s
        """Seconds that the next wait may last."""

    def note_waited(self, seconds: float) -> None:
        """Count the seconds that the service waited for the client."""
        self.left_s -= seconds

    def note_received(self, size: int) -> None:
        """Count ``size`` bytes that came; the time begins anew after every ``min_bytes``."""
        self._missing -= size
        if self._missing <= 0:
            self._missing = self.pace.min_bytes
            self.left_s = self.pace.within_s

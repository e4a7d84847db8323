"""How long the service waits for clients that are slow, silent or gone."""

import attrs


@attrs.frozen(kw_only=True)
class Timeouts:
    """What a connection may take, in s, before it is cut off. A body has its own `Pace`.

    Attributes:
        idle_s: silence before a request begins; balancers reuse connections for 60 s.
        head_s: from the first byte of a request to the end of its headers.
        linger_s: reading on, once a request was answered, what is left of its body.
        unread_s: while answers wait to be taken.
    """

    idle_s: float = 75.0
    head_s: float = 15.0
    linger_s: float = 10.0
    unread_s: float = 30.0


@attrs.frozen(kw_only=True)
class Pace:
    """How fast a body must come: ``min_bytes``, as sent, in every ``within_s`` of waiting for it, or its end."""

    min_bytes: int = 1024
    within_s: float = 30.0


class Waiting:
    """The waiting for one body: time the service itself takes does not count."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._missing = pace.min_bytes
        self.left_s = pace.within_s
        """How long the next wait may last."""

    def note_waited(self, seconds: float) -> None:
        """Note that the client let the service wait."""
        self.left_s -= seconds

    def note_received(self, size: int) -> None:
        """Note that ``size`` bytes came; enough of them, and the time begins anew."""
        self._missing -= size
        if self._missing <= 0:
            self._missing = self._pace.min_bytes
            self.left_s = self._pace.within_s

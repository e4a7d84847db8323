"""`alreadyKnown`: the events of a request with ``?ack=stored`` that changed nothing, as an earlier version stands."""

import asyncio
from collections.abc import Iterable
from typing import Any

import attrs
import structlog

from app.context import Context
from app.schemas.elements import EVENTS_MAX
from shards import Event, StoreError

_log = structlog.stdlib.get_logger(__name__)


@attrs.define
class SentEvents:
    """The events of a request by their keys, each with its order: the first one's where a request has a key twice.

    Kept only where they are asked about: with ``?ack=stored``, and while there are at most `EVENTS_MAX`, which only
    ``/bulk`` can exceed.
    """

    are_kept: bool
    orders: dict[tuple[str, str], int] = attrs.field(factory=dict, init=False)

    def note(self, events: Iterable[Event]) -> None:
        """Keep events, in the order in which they were received."""
        if not self.are_kept:
            return
        for event in events:
            self.orders.setdefault((event.match_id, event.event_id), event.order_ns)
        if len(self.orders) > EVENTS_MAX:
            self.are_kept = False
            self.orders.clear()

    async def view(self, context: Context, *, deadline_s: float, is_one: bool) -> dict[str, Any]:
        """Return the member `alreadyKnown` of the reply to a request whose events are stored.

        It is left out where ClickHouse was not asked, because there are too many events, or did not tell in time.

        Args:
            context: where to ask.
            deadline_s: when there has to be an answer, by the clock of the event loop.
            is_one: whether the request was one event; then the member is true or false, else a list of ids.
        """
        if not self.are_kept:
            return {}
        try:
            async with asyncio.timeout_at(deadline_s):
                known = await context.known.among(self.orders)
        except TimeoutError:
            return {}
        except StoreError as error:
            code = error.code
            context.store_failures.note(
                "known", lambda again: _log.warning("earlier versions not asked", code=code, repeated=again)
            )
            return {}
        if is_one:
            return {"alreadyKnown": bool(known)}
        ids = dict.fromkeys(event_id for match_id, event_id in self.orders if (match_id, event_id) in known)
        return {"alreadyKnown": list(ids)}

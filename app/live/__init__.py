"""Live answers: one cache in front of ClickHouse, one poller per watched match, any number of viewers."""

from app.live.hub import Live, UnknownMatch
from app.live.merged import Changes, merged
from app.live.overview import Overview
from app.live.viewers import Message, Subscription

__all__ = ["Changes", "Live", "Message", "Overview", "Subscription", "UnknownMatch", "merged"]

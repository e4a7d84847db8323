"""The dashboard: pages rendered on the server, kept current by server-sent events.

``views`` and what it builds on (``timeline``, ``feed``) turn aggregates into view models, without I/O; ``rendering``
turns those into HTML, as a page or as the parts of it that changed; ``handlers`` serves both and the static files.
"""

from app.dashboard.handlers import setup

__all__ = ["setup"]

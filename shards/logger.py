"""The loggers of this package."""

import logging

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger that writes to the logger ``name`` of ``logging``, through structlog as it is configured.

    In a process that does not configure structlog, a logger of ``structlog.get_logger`` prints to stdout. This one
    leaves level and place to ``logging`` there too, and each line is text.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(logging.getLogger(name))
    return logger

"""The service as a process, as in tests/e2e."""

from tests.e2e.conftest import http, start

__all__ = ["http", "start"]

"""Questions to a service in a container, asked from the machine."""

import http.client
import os
import time
from typing import Any, Final

import msgspec
import pytest

from app.config import Config, ConfigError

_DEADLINE_S: Final = 60


def needs_the_address_in_a_file() -> None:
    """Skip a test of what the manifests and the composition set, where this version does not read it yet."""
    setting = "FANFINITY_CLICKHOUSE_URL_FILE"
    try:
        Config.from_env({setting: os.devnull})
    except ConfigError as error:
        if "is not a setting" in str(error):
            pytest.skip(f"this version has no {setting}")


def ask(port: int, method: str, path: str, body: object = None, *, key: str = "") -> tuple[int, dict[str, Any]]:
    """Return status and body of one answer; ``key`` is sent where there is one. OSError where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        data = None if body is None else msgspec.json.encode(body)
        proof = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, data, {"Content-Type": "application/json"} | proof)
        answer = connection.getresponse()
        return answer.status, msgspec.json.decode(answer.read(), type=dict[str, Any])
    finally:
        connection.close()


def send(port: int, count: int, *, key: str = "") -> None:
    """Send that many new events of the match ``derby``."""
    status, answer = ask(port, "POST", "/api/matches/derby/events", [{"eventType": "cheer"}] * count, key=key)
    assert status == 202, answer


def until_ready(port: int, wanted: str = "ready") -> dict[str, Any]:
    """Wait until ``/ready`` says so, and return its checks."""
    deadline = time.monotonic() + _DEADLINE_S
    answer: dict[str, Any] = {}
    while answer.get("status") != wanted:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
        try:
            _, answer = ask(port, "GET", "/ready")
        except (OSError, http.client.HTTPException) as error:
            answer = {"error": str(error)}
    return dict(answer["checks"])


def until_stored(port: int, count: int, *, key: str = "") -> None:
    """Wait until that many events are confirmed and none is pending."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        accounting = ask(port, "GET", "/api/status", key=key)[1]["accounting"]
        if (accounting["confirmed"], accounting["pending"]) == (count, 0):
            return
        assert time.monotonic() < deadline, accounting
        time.sleep(0.1)

"""The shape of an error, asserted in one place."""

from typing import Any

import msgspec

from tests.http.service import Reply


def assert_problem(reply: Reply, status: int, *, says: str = "") -> dict[str, Any]:
    """Check that a reply is a problem (RFC 9457) that says what to mend; ``says`` is looked for in its words."""
    assert reply.status == status, reply.text
    assert 400 <= status < 600
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.headers["X-Request-ID"]
    assert reply.text.isascii()
    problem: dict[str, Any] = msgspec.json.decode(reply.text)
    assert problem["type"].startswith("/problems/")
    assert problem["status"] == status
    assert problem["title"]
    assert len(problem["detail"]) > 10
    assert problem["instance"].startswith("/")
    words = [problem["detail"]]
    for error in problem.get("errors", ()):
        words += _fault_words(error)
    assert says in "\n".join(words), words
    for hidden in ("Traceback", ".py", "asyncio", "msgspec", "cattrs", "Exception"):
        assert hidden not in reply.text
    return problem


def _fault_words(error: dict[str, Any]) -> list[str]:
    """Return what a fault says; of a rejected event, what all of its faults say."""
    if "index" in error:
        assert error.keys() == {"index", "eventId", "errors"}
        assert error["errors"], "an event was rejected without a reason"
        return [words for fault in error["errors"] for words in _fault_words(fault)]
    assert error.keys() == {"field", "message"}
    assert error["field"]
    assert len(error["message"]) > 8
    return [f"{error['field']} {error['message']}"]

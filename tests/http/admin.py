"""What only operators may ask for, and what others might send in place of the token."""

from collections.abc import Iterator

from app.handlers.openapi import document

LETTER_ID = "0-1"


PLACEHOLDERS = {"{id}": LETTER_ID, "{shard}": "0", "{act}": "pause", "{matchId}": "m"}
"""What stands in the path of a request of each route."""


def admin_requests() -> Iterator[tuple[str, str]]:
    """Yield method and path of everything that the document says is for operators."""
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            if operation.get("security") == [{"key": ["admin"]}]:
                for name, value in PLACEHOLDERS.items():
                    path = path.replace(name, value)
                yield method.upper(), path


WITHOUT_PROOF: tuple[dict[str, str], ...] = (
    {},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "::1", "X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "https"},
    {"Forwarded": "for=127.0.0.1;host=localhost;by=_secret"},
    {"X-Real-IP": "127.0.0.1", "X-Client-IP": "127.0.0.1", "True-Client-IP": "127.0.0.1"},
    {"Via": "1.1 localhost"},
    {"Host": "localhost"},
    {"Host": "127.0.0.1:8080"},
    {"Origin": "http://127.0.0.1:8080"},
    {"Origin": "null", "Referer": "http://localhost/"},
    {"Cookie": "admin-token=x; admin=1"},
    {"X-HTTP-Method-Override": "OPTIONS"},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer null"},
    {"Authorization": "Basic YWRtaW46YWRtaW4="},
    {"Authorization": "Bearer \N{PARTY POPPER}"},
    {"Authorization": "Bearer " + "A" * 32},
)
"""Headers with which nobody may be let in."""

"""``fanfinity keys new``."""

import json

import pytest
from click.testing import CliRunner

from app.__main__ import main
from app.access.keys import ApiKey, Keys
from app.access.principal import Scope


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["keys", "new", *arguments])
    return result.exit_code, result.output


def test_what_is_printed_for_people_works() -> None:
    code, text = _run("feed", "--scopes", "ingest+read", "--matches", "a b", "--until", "2099-01-31T02:00:00+02:00")
    assert code == 0
    [key] = [line for line in text.splitlines() if line.startswith("ff_")]
    [line] = [line for line in text.splitlines() if line.startswith("feed:")]
    found = Keys([ApiKey.parse(line)]).find(key)
    assert found is not None
    assert (found.scopes, found.prefixes) == ({Scope.INGEST, Scope.READ}, ("a b",))
    assert line.endswith(":matches=a_20b:until=20990131T000000Z")


def test_json_is_for_programs() -> None:
    code, text = _run("feed", "--scopes", "react", "--json")
    made = json.loads(text)
    assert code == 0
    assert made.keys() == {"name", "scopes", "key", "line"}
    assert (made["name"], made["scopes"]) == ("feed", ["react"])
    assert Keys([ApiKey.parse(made["line"])]).find(made["key"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Feed", "--scopes", "read"), "a name has 1 to 40 lower-case letters"),
        (("feed", "--scopes", "write"), "the scopes must be of react, ingest, read, edge, admin"),
        (("feed", "--scopes", ""), "the scopes must be of"),
        (("feed", "--scopes", "read", "--matches", ""), "a prefix of match ids has 1 to 128 characters"),
        (("feed", "--scopes", "read", "--until", "2099-01-31"), "has no offset"),
        (("feed", "--scopes", "read", "--until", "2020-01-31T00:00:00Z"), "is over"),
        (("feed",), "Missing option '--scopes'"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], says: str) -> None:
    code, text = _run(*arguments)
    assert code != 0
    assert says in text
    assert "ff_" not in text

"""Keys: their form, their line, and how one that came is looked up."""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access import keys as keys_module
from app.access.keys import ApiKey, KeyLineError, Keys, parse_keys
from app.access.principal import Scope

SAFE = re.compile(r"[A-Za-z0-9_.:+=-]+")
"""Characters that mean nothing to a shell, a file of variables, a composition, or YAML within a value."""

prefixes = st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12), max_size=4)
scopes = st.sets(st.sampled_from(Scope), min_size=1)
moments = st.integers(0, 1 << 34).map(lambda second: datetime.fromtimestamp(second, UTC))


@given(scopes, prefixes, st.none() | moments)
def test_a_line_holds_all_of_a_key_but_the_key_itself(
    scopes: set[Scope], prefixes: list[str], until: datetime | None
) -> None:
    text, key = ApiKey.new("feed-2", scopes, prefixes=prefixes, until=until)
    line = key.line()
    assert SAFE.fullmatch(line)
    assert ApiKey.parse(line) == key
    assert text[-27:] not in line
    assert re.fullmatch(r"ff_feed-2_[A-Za-z0-9_-]{27}", text)
    assert Keys([key]).find(text) == key


def test_what_is_shown_of_a_key_is_no_hash() -> None:
    text, key = ApiKey.new("feed", [Scope.INGEST])
    assert key.digest.hex() not in repr(key)
    assert str(key.digest) not in repr(key)
    assert text not in repr(key)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ff_feed_AAAAAAAAAAAAAAAAAAAAAAAAAAA", "this is a key itself"),
        ("", "the first part is the name"),
        ("Feed:ingest:a.b", "the first part is the name"),
        ("admin-token:ingest:a.b", "admin-token, anybody, console, origin are taken"),
        ("feed", "it must be name:scope"),
        ("feed:ingest", "it must be name:scope"),
        ("feed:ingest:nothing", "it must be name:scope"),
        ("feed:ingest:AAAA.BBBB", "it must be name:scope"),
        ("feed:ingest:=.=", "it must be name:scope"),
        ("feed:write:{proof}", "the scopes must be of react, ingest, read, edge, admin"),
        ("feed::{proof}", "the scopes must be of"),
        ("feed:ingest:{proof}:until=tomorrow", "until must be a time in UTC"),
        ("feed:ingest:{proof}:matches=", "behind the hash may stand"),
        ("feed:ingest:{proof}:matches=a b", "behind the hash may stand"),
        ("feed:ingest:{proof}:matches=_ff", "not UTF-8"),
        ("feed:ingest:{proof}:more", "behind the hash may stand"),
        ("feed:ingest:{proof}:matches=a:matches=b", "matches and until may each stand there once"),
    ],
)
def test_a_wrong_line_says_what_to_mend_and_shows_nothing_of_it(line: str, says: str) -> None:
    proof = ApiKey.new("x", [Scope.READ])[1].line().split(":")[2]
    with pytest.raises(KeyLineError, match=re.escape(says)) as raised:
        ApiKey.parse(line.replace("{proof}", proof))
    assert "AAAA" not in str(raised.value)
    assert proof not in str(raised.value)


@pytest.mark.parametrize("name", ["", "Feed", "a_b", "1st", "a" * 41, "origin", "a\n", "ä"])
def test_a_wrong_name_makes_no_key(name: str) -> None:
    with pytest.raises(KeyLineError, match="a name has 1 to 40 lower-case letters"):
        ApiKey.new(name, [Scope.READ])


def test_two_keys_of_one_name_are_refused() -> None:
    lines = [ApiKey.new("feed", [Scope.INGEST])[1].line() for _ in range(2)]
    with pytest.raises(KeyLineError, match="line 2: feed: there are two keys of this name"):
        parse_keys(lines)


def test_a_line_that_cannot_be_read_is_named_by_its_number() -> None:
    with pytest.raises(KeyLineError, match=r"^line 3: the first part is the name"):
        parse_keys(["# of the club", ApiKey.new("feed", [Scope.INGEST])[1].line(), '"other:ingest'])


@pytest.mark.parametrize("prefix", ["a\udcff", "a\nb", "\x00", "\x85"])
def test_a_prefix_that_no_match_id_has_makes_no_key(prefix: str) -> None:
    with pytest.raises(KeyLineError, match="no control characters, and none that are no text"):
        ApiKey.new("feed", [Scope.INGEST], prefixes=[prefix])


def test_an_end_that_is_no_time_in_utc_makes_no_key() -> None:
    until = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12)))
    with pytest.raises(KeyLineError, match="in the years 1 to 9999"):
        ApiKey.new("feed", [Scope.INGEST], until=until)


def test_blank_lines_and_remarks_are_passed_over() -> None:
    key = ApiKey.new("feed", [Scope.INGEST])[1]
    assert parse_keys(["", "# of the club", f"  {key.line()} "]) == (key,)


def test_an_end_counts_from_its_second_on() -> None:
    until = datetime(2027, 1, 31, tzinfo=UTC)
    key = ApiKey.new("feed", [Scope.INGEST], until=until)[1]
    assert not key.has_ended(until - timedelta(seconds=1))
    assert key.has_ended(until)
    assert not ApiKey.new("feed", [Scope.INGEST])[1].has_ended(until)


def test_an_admin_may_read_and_nobody_gets_more_than_is_named() -> None:
    assert ApiKey.new("x", [Scope.ADMIN])[1].principal.scopes == {Scope.ADMIN, Scope.READ}
    for scope in set(Scope) - {Scope.ADMIN}:
        assert ApiKey.new("x", [scope])[1].principal.scopes == {scope}


def test_unknown_wrong_and_revoked_keys_cost_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    right, key = ApiKey.new("feed", [Scope.INGEST])
    revoked, _ = ApiKey.new("gone", [Scope.INGEST])
    wrong = f"ff_feed_{'A' * 27}"
    hashes, compared = [], []

    class Counting:
        def sha256(self, data: bytes) -> object:
            hashes.append(len(data))
            return hashlib.sha256(data)

    class Comparing:
        def compare_digest(self, one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(keys_module, "hashlib", Counting())
    monkeypatch.setattr(keys_module, "hmac", Comparing())
    found = [Keys([key]).find(text) is not None for text in (right, wrong, revoked, f"ff_nobody_{'A' * 25}")]
    assert found == [True, False, False, False]
    assert hashes == [len(right) + 16] * 4
    assert compared == [(32, 32)] * 4


@given(st.text())
def test_whatever_comes_is_no_key(text: str) -> None:
    key = ApiKey.new("feed", [Scope.INGEST])[1]
    assert Keys([key]).find(text) is None
    assert Keys().find(text) is None


def test_the_dummy_is_no_key() -> None:
    assert Keys().find("nobody") is None
    assert Keys().named("nobody") is None

"""Text from outside in a statement, as far as no ClickHouse is needed to show it."""

import secrets

import pytest

from shards.stores.sql import heredoc


def test_a_text_with_a_nul_is_refused_because_no_statement_can_hold_it() -> None:
    with pytest.raises(ValueError, match="NUL"):
        heredoc("a\0b")


def test_a_text_that_holds_the_tag_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = iter(["aa", "bb", "cc"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(tags))
    assert heredoc("$aa$ bb") == "$cc$$aa$ bb$cc$"

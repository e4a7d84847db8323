"""The one place where text from outside enters a statement."""

import secrets
from collections.abc import Sequence


def heredoc(text: str) -> str:
    """Return ``text`` as a SQL string literal that it cannot break out of.

    ClickHouse takes everything between two equal ``$tag$`` as it is, so nothing is escaped. The tag is random and does
    not occur in the text. The text may hold any character but NUL, which a statement may not hold.

    Raises:
        ValueError: the text holds a NUL.
    """
    if "\0" in text:
        raise ValueError("a statement cannot hold a NUL character")
    tag = secrets.token_hex(8)
    while tag in text:
        tag = secrets.token_hex(8)
    return f"${tag}${text}${tag}$"


def rows_source(rows: Sequence[bytes], structure: str) -> str:
    """Return a table expression over rows of JSON, one object each: ``format(JSONEachRow, …)``.

    Args:
        rows: UTF-8 JSON objects without newlines outside strings; at least one.
        structure: names and types of the columns, ``name Type, …``; a constant of ours.
    """
    text = str(b"\n".join(rows), "utf-8")
    return f"format(JSONEachRow, {heredoc(structure)}, {heredoc(text)})"

"""Parses files, and of a file that is cut off in the middle what is whole.

A match that is still running, or a download that broke off, leaves a file that ends within a row. Its whole rows are
kept, the last one goes; a file that is damaged anywhere else is not guessed at.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, cast
from xml.etree import ElementTree

import attrs

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[][{},]', re.DOTALL)
_PAIRS: Final = {b"]": b"[", b"}": b"{"}
_CLOSERS: Final = {b"[": b"]", b"{": b"}"}
_ROWS_DEPTH: Final = 3
"""Objects within each other down to the one whose members are rows, in files that hold their rows in no array."""

_ROW_TAGS: Final = frozenset({"Event", "event"})


@attrs.frozen(kw_only=True)
class Parsed:
    """What a text holds.

    Attributes:
        document: None where nothing can be made of the text; ``fault`` says why then.
        text: of JSON that is cut off, the part that is whole, with its brackets closed.
    """

    document: Any = None
    text: bytes = b""
    is_cut_off: bool = False
    fault: str = ""


def parse_json(content: bytes) -> Parsed:
    """Parse a JSON text. Every number is read as Python does; constants that are no JSON are refused."""
    try:
        return Parsed(document=json.loads(content))
    except UnicodeDecodeError as error:
        fault = f"it is not UTF-8 (byte {error.start})"
    except ValueError as error:
        fault = str(error)
    except RecursionError:
        return Parsed(fault="it is nested too deep to be read")
    head = _whole_part(content)
    if head is None:
        return Parsed(fault=fault)
    try:
        return Parsed(document=json.loads(head), text=head, is_cut_off=True)
    except (ValueError, RecursionError):
        return Parsed(fault=fault)


def _whole_part(content: bytes) -> bytes | None:
    """Return the text up to its last whole row, with its brackets closed; None where it is not cut off.

    A row is an element of the outermost array that is still open, or a member of an object.
    """
    open_brackets = _open_brackets(content)
    if not open_brackets:
        return None
    arrays = [depth for depth, (bracket, _) in enumerate(open_brackets) if bracket == b"["]
    depth = arrays[0] if arrays else min(len(open_brackets), _ROWS_DEPTH) - 1
    closers = [_CLOSERS[bracket] for bracket, _ in reversed(open_brackets[: depth + 1])]
    return content[: open_brackets[depth][1]] + b"".join(closers)


def _open_brackets(content: bytes) -> list[tuple[bytes, int]]:
    """Return the brackets that are open at the end, outermost first, and where the last whole part in each ends.

    There are none where the text closes all of its brackets, or closes one that it did not open.
    """
    open_brackets: list[tuple[bytes, int]] = []
    for match in _TOKENS.finditer(content):
        token = match[0]
        if token in _CLOSERS:
            open_brackets.append((token, match.end()))
        elif token in _PAIRS and (not open_brackets or open_brackets.pop()[0] != _PAIRS[token]):
            return []
        elif token in _PAIRS or token == b",":
            if not open_brackets:
                return []
            open_brackets[-1] = open_brackets[-1][0], match.end() if token in _PAIRS else match.start()
    return open_brackets


def parse_xml(content: bytes) -> Parsed:
    """Parse an XML text; ``document`` is its root element. Of a text that is cut off the last ``Event`` goes."""
    parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(events=("start", "end"))
    try:
        parser.feed(content)
        root, open_elements = _root_of(cast(Iterator[tuple[str, ElementTree.Element]], parser.read_events()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return Parsed(fault=f"it is not well-formed XML: {error}")
    if root is None:
        return Parsed(fault="it has no element")
    _drop_open_row(open_elements)
    return Parsed(document=root, is_cut_off=bool(open_elements))


def _root_of(
    events: Iterator[tuple[str, ElementTree.Element]],
) -> tuple[ElementTree.Element | None, list[ElementTree.Element]]:
    """Return the root element, and the elements that are open at the end, outermost first."""
    open_elements: list[ElementTree.Element] = []
    root: ElementTree.Element | None = None
    for kind, element in events:
        root = element if root is None else root
        open_elements = [*open_elements, element] if kind == "start" else open_elements[:-1]
    return root, open_elements


def _drop_open_row(open_elements: list[ElementTree.Element]) -> None:
    """Take the row that has not ended out of the one that holds it."""
    for parent, child in pairwise(open_elements):
        if child.tag in _ROW_TAGS:
            parent.remove(child)
            return

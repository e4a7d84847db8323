"""Finds the files that belong to a provider's file: those named, else by their content, in the same folder.

A file fits where it is of the kind that is needed, and is of the same match, by the ids of the match or of its teams.
Of several that fit, the one whose name is most like that of the event file is taken. In StatsBomb's own layout
``events/N.json`` has ``../lineups/N.json``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import attrs

from app.sending.providers.match import Document
from app.sending.recordings import kinds
from app.sending.recordings.content import content_of, head_of
from app.sending.recordings.recording import RecordingError
from app.sending.recordings.whole import Parsed, parse_json, parse_xml

_MARKS: Final = {
    kinds.STATSBOMB_LINEUPS: b'"lineup"',
    kinds.F7: b"<SoccerFeed",
    kinds.MA1: b"matchInfo",
    kinds.SPORTEC_INFORMATION: b"<MatchInformation",
    kinds.IMPECT_LINEUPS: b'"squadHome"',
    kinds.IMPECT_SQUADS: b'"access"',
    kinds.IMPECT_PLAYERS: b'"commonname"',
    kinds.EPTS: b"<main",
}
"""What the head of a file of each kind has: a file without it is not parsed."""

_FILES_MAX: Final = 500
_SIZE_MAX_BYTES: Final = 32 << 20


def parse(content: bytes) -> Parsed:
    """Parse a text as XML where it begins as such, else as JSON."""
    return parse_xml(content) if content.lstrip().startswith(b"<") else parse_json(content)


@attrs.frozen
class FilesBeside:
    """The files of a folder, and those that were named, as far as they may belong to one event file."""

    path: Path
    document: Document
    named: Sequence[Path]

    def find(self, kind: kinds.FileKind) -> list[Document]:
        """Return the parsed files that belong to this one, in the order of the kind's ``needs`` and ``wants``.

        Raises:
            RecordingError: one is missing, or one that was named does not belong here.
        """
        self._check_named(kind)
        found = []
        for name in (*kind.needs, *kind.wants):
            document = self._first(name)
            if document is None and name in kind.needs:
                raise RecordingError(
                    f"{self.path} is {kind.name}; it needs {name} of the same match, and none stands beside it: "
                    "name one with --with FILE"
                )
            found.append(document)
        return found

    def _check_named(self, kind: kinds.FileKind) -> None:
        for path in self.named:
            document = parse(content_of(path)).document
            found = kinds.kind_of(document)
            if found is None or found.name not in (*kind.needs, *kind.wants):
                wanted = " or ".join((*kind.needs, *kind.wants)) or "no other file"
                what = found.name if found is not None else "not known here"
                raise RecordingError(f"{path} is {what}, and {self.path}, {kind.name}, needs {wanted}")
            if not _fits(found.name, self.document, document):
                raise RecordingError(f"{path} is {found.name} of another match than {self.path}")

    def _first(self, name: str) -> Document:
        for path in [*self.named, *self._candidates(name)]:
            document = parse(content_of(path)).document
            kind = kinds.kind_of(document)
            if kind is not None and kind.name == name and _fits(name, self.document, document):
                return document
        return None

    def _candidates(self, name: str) -> Iterator[Path]:
        """Yield the files that may be of this kind, the likeliest by its name first."""
        folders = [self.path.parent]
        if name == kinds.STATSBOMB_LINEUPS:
            folders.insert(0, self.path.parent.parent / "lineups")
        for folder in folders:
            files = [path for path in _files(folder) if path != self.path]
            files.sort(key=lambda path: (-_likeness(path.name, self.path.name), path.name))
            for path in files[:_FILES_MAX]:
                if _MARKS[name] in head_of(path):
                    yield path


def _files(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.is_file() and p.stat().st_size <= _SIZE_MAX_BYTES]
    except OSError:
        return []


def _likeness(one: str, other: str) -> int:
    """Return how many characters two names share at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _fits(name: str, events: Document, beside: Document) -> bool:
    """Say whether a file is of the same match as the events, as far as the two can tell."""
    one = _ids_of_events(name, events)
    try:
        other = _ids_beside(name, beside)
    except (KeyError, TypeError, AttributeError):
        return False  # it is of the kind by its name only
    return not one or not other or one <= other


def _ids_of_events(name: str, events: Document) -> set[str]:
    """Return the id of the match, or of its teams, that the event file has."""
    return _IDS_OF_EVENTS[name](events) - {"", "None"} if name in _IDS_OF_EVENTS else set()


def _ids_beside(name: str, beside: Document) -> set[str]:
    """Return the id of the match, or of its teams, that a file beside it has."""
    return _IDS_BESIDE[name](beside) - {"", "None"} if name in _IDS_BESIDE else set()


def _match_info(document: Document) -> set[str]:
    """Return the match's id in an MA1 or MA3 file."""
    if isinstance(document, ElementTree.Element):
        return _attributes(document, "matchInfo", "id")
    return {str(document["matchInfo"].get("id"))}


def _attributes(root: ElementTree.Element, tag: str, name: str) -> set[str]:
    return {element.get(name, "") for element in root.iter(tag)}


_IDS_OF_EVENTS: Final[Mapping[str, Callable[[Document], set[str]]]] = {
    kinds.STATSBOMB_LINEUPS: lambda rows: {str(row["team"]["id"]) for row in rows if "team" in row},
    kinds.F7: lambda root: _attributes(root, "Event", "team_id"),
    kinds.MA1: _match_info,
    kinds.SPORTEC_INFORMATION: lambda root: _attributes(root, "Event", "MatchId"),
    kinds.IMPECT_LINEUPS: lambda rows: {str(row.get("squadId")) for row in rows},
    kinds.IMPECT_SQUADS: lambda rows: {str(row.get("squadId")) for row in rows},
    kinds.EPTS: lambda events: {str(row["team"]["id"]) for row in events["data"]},
}
_IDS_BESIDE: Final[Mapping[str, Callable[[Document], set[str]]]] = {
    kinds.STATSBOMB_LINEUPS: lambda teams: {str(team["team_id"]) for team in teams},
    kinds.F7: lambda root: {ref.lstrip("t") for ref in _attributes(root, "TeamData", "TeamRef")},
    kinds.MA1: _match_info,
    kinds.SPORTEC_INFORMATION: lambda root: _attributes(root, "General", "MatchId"),
    kinds.IMPECT_LINEUPS: lambda lineups: {str(lineups[key]["id"]) for key in ("squadHome", "squadAway")},
    kinds.IMPECT_SQUADS: lambda squads: {str(squad["id"]) for squad in squads},
    kinds.EPTS: lambda root: _attributes(root, "Team", "id"),
}

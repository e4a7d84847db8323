"""README, CHANGELOG and docs are true of the repository: links, paths, names of tests, examples, and their form."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from app.context import EMBEDDED_DIRECTORY
from app.web import admin_token
from shards.erasure.records import Erasure
from shards.events import decode_row
from shards.wal import checkpoint, journal
from shards.wal.directory import WAL_DIRECTORY
from shards.wal.record import HEADER_BYTES, Header, RecordScanner, decode_header
from shards.wal.segments import DAMAGED_DIRECTORY
from tests.paths import DATA, ROOT

LINE_MAX = 160
LINES_OF_OTHERS = {
    "docs/BENCHMARKS.md",
    "docs/MUTANTS.md",
    "docs/TORTURE.md",
    "LICENSE",
    "requirements.lock",
    "templates/static/favicon.svg",
    "tests/package-lock.json",
}
ARCHITECTURE = ROOT / "docs" / "architecture"
DECISION = ("Problem", "Options Considered", "Selected Approach", "Trade-offs", "Confidence: N%")
QUESTIONS = 6

DOCUMENTS = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:app|shards|tests|docs|templates)/[\w./-]*\w/?(?:::\w+)?")
_FILE = re.compile(r"[\w-]+\.(?:py|yaml|md)")
_TEST = re.compile(r"test_\w+")

document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _spans(path: Path) -> Iterator[str]:
    """Yield what stands between single backticks."""
    return (found.group(1) for found in _CODE.finditer(_without_blocks(_text(path))))


@cache
def _test_files() -> dict[Path, str]:
    return {path: _text(path) for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts}


def _defines(text: str, name: str) -> bool:
    return re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE) is not None


def _missing(span: str) -> bool:
    """Say whether a path from the root, or a test in a file, does not exist."""
    name, _, test = span.partition("::")
    file = ROOT / name
    return not file.exists() or bool(test and not _defines(_text(file), test))


@document
def test_links_lead_somewhere(path: Path) -> None:
    targets = [target for target in _LINK.findall(_text(path)) if "://" not in target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@document
def test_paths_and_tests_that_are_named_exist(path: Path) -> None:
    spans = list(_spans(path))
    assert [span for span in spans if _PATH.fullmatch(span) and _missing(span)] == []
    names = {
        file.name for folder in ("app", "shards", "tests", "docs", "docker") for file in (ROOT / folder).rglob("*.*")
    }
    assert [span for span in spans if _FILE.fullmatch(span) and span not in names | {"README.md", "CHANGELOG.md"}] == []
    tests = [span for span in spans if _TEST.fullmatch(span)]
    assert [test for test in tests if not any(_defines(text, test) for text in _test_files().values())] == []


def test_the_readme_names_every_folder_of_the_code() -> None:
    folders = {
        str(folder.parent.relative_to(ROOT))
        for package in ("app", "shards")
        for folder in (ROOT / package).glob("*/__init__.py")
    }
    assert len(folders) > 10
    assert folders - set(_spans(ROOT / "README.md")) == set()


def test_every_document_is_linked_from_another() -> None:
    linked = {(path.parent / target).resolve() for path in DOCUMENTS for target in _LINK.findall(_text(path))}
    alone = {path for path in DOCUMENTS if path.parent != ROOT and path.resolve() not in linked}
    assert {str(path.relative_to(ROOT)) for path in alone} == set()


def _tracked_texts() -> Iterator[tuple[str, str]]:
    """Yield the path from the root and the text of each file that git tracks, but those whose lines we do not write."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("which files are ours is known from git only")
    listed = subprocess.run([git, "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if name not in LINES_OF_OTHERS and DATA not in path.parents and path.exists():
            yield name, _text(path)


def test_lines_can_be_read() -> None:
    texts = dict(_tracked_texts())
    assert {"README.md", "app/openapi/openapi.yaml", "pyproject.toml", "templates/base.html"} <= texts.keys()
    long = [
        f"{name}:{number}: {len(line)} characters"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > LINE_MAX
    ]
    assert long == []


@pytest.mark.parametrize(("name", "count"), [("SYSTEM_DESIGN.md", QUESTIONS), ("ADR-001-architecture-pattern.md", 1)])
def test_decisions_have_the_form_that_was_asked_for(name: str, count: int) -> None:
    _, *decisions = re.split(r"^## ", _text(ARCHITECTURE / name), flags=re.MULTILINE)
    assert len(decisions) == count
    for decision in decisions:
        title, *sections = re.split(r"^### ", decision, flags=re.MULTILINE)
        assert re.match(r"Decision: \S", title)
        assert len(title.splitlines()[0]) < LINE_MAX / 2
        headings = [section.partition("\n")[0] for section in sections]
        assert tuple(re.sub(r"(?<=Confidence: )\d{1,3}%$", "N%", heading) for heading in headings) == DECISION
        assert all(section.partition("\n")[2].strip() for section in sections), f"{title}: a section is empty"
        options = re.split(r"^(\d+)\. ", sections[1], flags=re.MULTILINE)
        numbers, texts = options[1::2], options[2::2]
        assert numbers == [str(number) for number in range(1, len(texts) + 1)]
        assert len(texts) > 1
        assert all("- Pros: " in text and "- Cons: " in text for text in texts), f"{title}: an option lacks one"
        assert "Measured since" in sections[-1]


def test_every_adr_says_when_it_was_decided() -> None:
    decisions = sorted(ARCHITECTURE.glob("ADR-*.md"))
    numbers = [int(path.name.split("-")[1]) for path in decisions]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in decisions:
        head = _text(path).partition("\n## ")[0]
        assert head.startswith(f"# ADR-{path.name.split('-')[1]}: "), path.name
        assert re.search(r"20\d\d-\d\d-\d\d|\d{1,2} [A-Z][a-z]+ 20\d\d", head), f"{path.name} has no date"


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads(_text(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.findall(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", _text(ROOT / "CHANGELOG.md"), re.MULTILINE)[0] == version


def test_the_data_directorys_page_names_every_file_of_ours() -> None:
    page = _text(ARCHITECTURE / "DATA_DIRECTORY.md")
    ours = (
        "lock",
        "id",
        "wal/id",
        "deadletters/shard-NNN.jsonl",
        checkpoint.FILE_NAME,
        journal.FILE_NAME,
        admin_token.FILE_NAME,
    )
    folders = (WAL_DIRECTORY, DAMAGED_DIRECTORY, EMBEDDED_DIRECTORY)
    assert [name for name in ours if f"{name}`" not in page] == []
    assert [name for name in folders if f"{name}/" not in page] == []


def test_the_data_directorys_examples_are_what_the_code_reads() -> None:
    page = _text(ARCHITECTURE / "DATA_DIRECTORY.md")
    dumped = re.findall(r"^[0-9a-f]{8}: ((?:[0-9a-f]{2} )+)", page, re.MULTILINE)
    segment = bytes.fromhex("".join(dumped))
    assert decode_header(segment) == Header(2, 0, 1)
    scanner = RecordScanner()
    [record] = scanner.feed(segment[HEADER_BYTES:])
    assert (record.seq, len(record.payload), decode_row(record.payload).match_id) == (1, 227, "derby")
    assert f"0x{crc32(segment[:20]):08x}" in page

    found = re.findall(r'^\{"beyond".*\}$', page, re.MULTILINE)
    assert [msgspec.json.decode(line, type=checkpoint.Checkpoint).confirmed for line in found] == [3]

    lines = re.findall(r"^([0-9a-f]{8}) (\{.*\})$", re.sub(r"⏎\n\s*", "", page), re.MULTILINE)
    assert [f"{crc32(text.encode()):08x}" for _, text in lines] == [checksum for checksum, _ in lines]
    (_, recorded), *noted = lines
    assert msgspec.json.decode(recorded, type=Erasure).cut_offs == {0: 4711, 1: 0}
    entries = [msgspec.json.decode(text, type=journal.Entry) for _, text in noted]
    assert [type(entry) for entry in entries] == [journal.Confirmed, journal.Unprovable]

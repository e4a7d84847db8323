"""The tool of `make mutants`: which changes it makes, and how it knows one that changes nothing."""

from pathlib import Path

import pytest

from tests.mutants import lists, operators
from tests.mutants.hunt import is_near
from tests.mutants.lists import Equivalent
from tests.mutants.operators import Mutant, mutants_of
from tests.mutants.reach import Reach

SOURCE = '''
"""A module."""

LIMIT = 4

def work(fd: int, lock: Lock, *, most: int = 1) -> int:
    """Do it; é takes two bytes."""
    with lock:
        os.write(fd, b"x")
        os.fsync(fd)
    if fd < most and not lock:
        raise ValueError("é" + str(fd))
    try:
        wait(fd)
    except OSError:
        _log.info("failed", fd=fd + 1)
        return 0
    return fd
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(operators, "ROOT", tmp_path)
    monkeypatch.setattr(lists, "ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def found(module: Path, operator: str) -> list[str]:
    return [mutant.change for mutant in mutants_of(module) if mutant.operator == operator]


@pytest.mark.parametrize(
    ("operator", "changes"),
    [
        ("comparison", ["< → <=", "< → >="]),
        ("boolean", ["and → or", "not lock → bool(lock)"]),
        ("arithmetic", ["+ → -"]),
        ("constant", ["4 → 3", "4 → 5", "1 → 0", "1 → 2", "0 → (-1)", "0 → 1"]),
        ("arguments swapped", ['fd, b"x" → b"x", fd']),
        ("await or lock removed", ["with lock → if True"]),
        ("sync or close removed", ["os.fsync(fd) → pass"]),
        ("statement removed", ['os.write(fd, b"x") → pass', "wait(fd) → pass"]),
        ("raise removed", ['raise ValueError("é" + str(fd)) → pass']),
        ("return removed", ["return 0 → pass", "return fd → pass"]),
        ("except emptied", ['_log.info("failed", fd=fd + 1) return 0 → pass']),
        ("order of two", ['os.write(fd, b"x") os.fsync(fd) → os.fsync(fd) os.write(fd, b"x")']),
        ("log line removed", []),
    ],
)
def test_each_operator_finds_its_places(module: Path, operator: str, changes: list[str]) -> None:
    assert found(module, operator) == changes


def test_each_change_is_one_and_leaves_the_rest_as_it_was(module: Path) -> None:
    source = module.read_bytes()
    for mutant in mutants_of(module):
        changed = mutant.applied(source)
        assert changed != source
        assert changed.startswith(source[: mutant.start])
        assert changed.endswith(source[mutant.end :])
        compile(changed, "changed", "exec")


def test_a_change_that_is_known_to_change_nothing_is_known_wherever_its_line_moves(module: Path) -> None:
    line = "if fd < most and not lock:"
    known = [Equivalent(module="module.py", operator="comparison", line=line, change="< → <=", reason="it is")]
    for text in (SOURCE, SOURCE.replace("LIMIT = 4\n", "LIMIT = 4\n\n\nOTHER = 5\n")):
        module.write_text(text, encoding="utf-8")
        reasons = {mutant.change: lists.reason_of(mutant, known) for mutant in mutants_of(module)}
        assert [change for change, reason in reasons.items() if reason] == ["< → <="]


def test_a_change_is_tried_on_the_tests_that_reach_it_the_shortest_first() -> None:
    lines = {1: frozenset[str](), 5: frozenset({"long", "short"}), 6: frozenset({"other"}), 7: frozenset({"failed"})}
    known = Reach({"module.py": lines}, {"short": 0.1, "other": 0.2, "long": 3.0})

    def tests(*reached: int) -> list[str]:
        mutant = Mutant(
            module="module.py",
            operator="",
            lines=(reached[0], reached[-1]),
            start=0,
            end=0,
            before="",
            after="",
        )
        return known.tests_of(mutant)

    assert tests(5) == ["short", "long"]
    assert tests(5, 6) == ["short", "other", "long"]
    assert tests(7) == [], "one that fails without a change tells nothing"
    assert tests(8) == []
    assert tests(1) == ["short", "other", "long"], "what acts at the import may show anywhere"


def test_a_text_that_is_not_there_exactly_once_is_named(monkeypatch: pytest.MonkeyPatch, module: Path) -> None:
    entry = '[[mutant]]\nmodule = "module.py"\npromise = "p"\nbefore = "{}"\nafter = ""\n'
    listed = module.with_name("aimed.toml")
    listed.write_text(entry.format("os.fsync(fd)") + entry.format("return") + entry.format("gone"))
    monkeypatch.setattr(lists, "AIMED", listed)
    with pytest.raises(ValueError, match=r"2 times: return\n.*0 times: gone"):
        lists.aimed()
    listed.write_text(entry.format("os.fsync(fd)"))
    [mutant] = lists.aimed()
    assert mutant.applied(module.read_bytes()) == SOURCE.replace("os.fsync(fd)", "").encode()


def test_the_tests_beside_a_module_are_its_own() -> None:
    assert is_near("tests/unit/shards/wal/test_log.py::test_a", "shards/wal/log.py")
    assert not is_near("tests/unit/shards/flush/test_steps.py::test_a", "shards/wal/log.py")
    assert not is_near("tests/contract/test_shardset.py::test_a", "shards/shardset.py")
    assert is_near("tests/unit/shards/test_shardset.py::test_a", "shards/shardset.py")

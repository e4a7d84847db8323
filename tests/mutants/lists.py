"""The two lists kept by hand: changes that are aimed at a promise, and changes that change nothing."""

import ast
import tomllib
from collections.abc import Iterable
from pathlib import Path

import attrs

from tests.mutants.operators import Mutant, widened
from tests.paths import ROOT

AIMED = Path(__file__).parent / "aimed.toml"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"


def aimed() -> list[Mutant]:
    """Return the changes of ``aimed.toml``. Raises ValueError with every text that is not there exactly once."""
    found, wrong = [], []
    for entry in tomllib.loads(AIMED.read_text("utf-8"))["mutant"]:
        source = (ROOT / entry["module"]).read_bytes()
        before = entry["before"].encode()
        if source.count(before) != 1:
            wrong.append(f"{entry['module']}: {source.count(before)} times: {entry['before']}")
            continue
        start = source.index(before)
        end = start + len(before)
        lines = source.count(b"\n", 0, start) + 1, source.count(b"\n", 0, end - 1) + 1
        for statement in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)):
            lines = widened(lines, statement)
        found.append(
            Mutant(
                module=entry["module"],
                operator="aimed",
                lines=lines,
                start=start,
                end=end,
                before=entry["before"],
                after=entry["after"],
                promise=entry["promise"],
            )
        )
    if wrong:
        raise ValueError("\n".join(("aimed.toml: these texts are not there exactly once", *wrong)))
    return found


@attrs.frozen(kw_only=True)
class Equivalent:
    """A change that nobody could notice; moved lines do not matter to it."""

    module: str
    operator: str
    line: str
    change: str
    reason: str

    def fits(self, mutant: Mutant, line: str) -> bool:
        """Say whether it is this change, in a line with this text; ``*`` is any change of the operator there."""
        same_place = (self.module, self.operator, self.line) == (mutant.module, mutant.operator, line)
        return same_place and self.change in ("*", mutant.change)


def equivalents() -> list[Equivalent]:
    """Return the changes of ``equivalent.toml``."""
    return [Equivalent(**entry) for entry in tomllib.loads(EQUIVALENT.read_text("utf-8")).get("equivalent", [])]


def reason_of(mutant: Mutant, known: Iterable[Equivalent]) -> str:
    """Return why nobody could notice a change; "" if somebody should."""
    line = mutant.line((ROOT / mutant.module).read_text("utf-8"))
    return next((equivalent.reason for equivalent in known if equivalent.fits(mutant, line)), "")

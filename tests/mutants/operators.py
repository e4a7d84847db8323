"""The changes: each a piece of a module's text, and the text in its place.

Left alone is what can be told at once to be noticed or to change nothing: docstrings, annotations, decorators, lines of
the log below a warning, the arguments of all lines of the log, attributes set by a constructor and their order, swapped
arguments of a function to which their order is nothing, a last ``return None``.
"""

import ast
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import attrs

from tests.paths import ROOT

_COMPARED: dict[type[ast.cmpop], Sequence[str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<=", ">="),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<="),
    ast.GtE: (">=", ">", "<"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
"""Text of each operator, and of what comes in its place."""
_CALCULATED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_SYNCS = {"fsync", "fdatasync", "sync_directory", "sync_file", "sync_last", "sync", "close", "unlink"}
_QUIET = {"debug", "info"}
_LOUD = {"warning", "error", "critical", "exception"}
_UNORDERED = {"isinstance", "issubclass", "max", "min", "range", "partial", "suppress", "getattr", "hasattr"}
_SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)


@attrs.frozen(kw_only=True)
class Mutant:
    """One change of a file: the bytes from ``start`` to ``end`` become ``after``.

    Attributes:
        module: path of the file from the root.
        lines: the lines, first and last, of which a test has to reach one.
        promise: what the change breaks; only of those that are aimed.
    """

    module: str
    operator: str
    lines: tuple[int, int]
    start: int
    end: int
    before: str
    after: str
    promise: str = ""

    @property
    def change(self) -> str:
        """The change in one line."""
        return f"{_in_one_line(self.before)} → {_in_one_line(self.after) or 'nothing'}"

    def line(self, source: str) -> str:
        """Return the text of the line in which the change begins."""
        return (source.encode()[: self.start].decode().rpartition("\n")[2] + _rest_of_line(source, self.start)).lstrip()

    def applied(self, source: bytes) -> bytes:
        """Return the file's text with the change."""
        assert source[self.start : self.end].decode() == self.before, f"{self.module} is not what it was"
        return source[: self.start] + self.after.encode() + source[self.end :]


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _rest_of_line(source: str, start: int) -> str:
    return source.encode()[start:].decode().partition("\n")[0]


def widened(lines: tuple[int, int], statement: ast.stmt) -> tuple[int, int]:
    """Return the lines with those of a statement that they are in, because a piece of it may be traced elsewhere."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    if isinstance(statement, (*_SIMPLE, ast.Return, ast.Raise)) and first <= lines[1] and lines[0] <= last:
        return min(lines[0], first), max(lines[1], last)
    return lines


def modules() -> list[Path]:
    """Return the files of the core."""
    return sorted(path for path in (ROOT / "shards").rglob("*.py") if path.name != "__init__.py")


def mutants_of(path: Path) -> list[Mutant]:
    """Return every change of a file, in the order of the text; none that cannot be compiled."""
    source = path.read_bytes()
    finder = _Finder(str(path.relative_to(ROOT)), source)
    finder.visit(ast.parse(source))
    found = {(m.start, m.end, m.after): m for m in finder.found}
    return sorted((m for m in found.values() if _compiles(m.applied(source))), key=lambda m: (m.start, m.end, m.after))


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _name_of(call: ast.expr) -> str:
    """Return the last part of the name of what is called; "" if it is no call."""
    call = call.value if isinstance(call, ast.Await) else call
    if not isinstance(call, ast.Call):
        return ""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_logged(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log.")


class _Finder(ast.NodeVisitor):
    """Collects the changes of one file."""

    def __init__(self, module: str, source: bytes) -> None:
        self.found: list[Mutant] = []
        self._module = module
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._function = ""
        self._lasts: set[ast.stmt] = set()
        self._statement: ast.stmt | None = None

    def _span(self, node: ast.AST) -> tuple[int, int]:
        first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        return self._starts[first - 1] + node.col_offset, self._starts[last - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _text(self, start: int, end: int) -> str:
        return self._source[start:end].decode()

    def _add(self, operator: str, span: tuple[int, int], after: str) -> None:
        before = self._text(*span)
        lines = self._source.count(b"\n", 0, span[0]) + 1, self._source.count(b"\n", 0, span[1]) + 1
        if self._statement is not None:
            lines = widened(lines, self._statement)
        self.found.append(
            Mutant(
                module=self._module,
                operator=operator,
                lines=lines,
                start=span[0],
                end=span[1],
                before=before,
                after=after,
            )
        )

    def visit(self, node: ast.AST) -> None:
        """Find the changes of a node and of all within it."""
        if isinstance(node, ast.stmt):
            self._statement = node
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._swap_statements(node, value)
        super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "keywords") and isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.arg | ast.AnnAssign | ast.ClassDef
            ):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Leave out what only declares."""
        if any("abstractmethod" in ast.unparse(decorator) for decorator in node.decorator_list):
            return
        outer, self._function = self._function, node.name
        self._lasts.add(node.body[-1])
        self.generic_visit(node)
        self._function = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Assert(self, node: ast.Assert) -> None:
        """Leave assertions alone: they are there for the type checker."""

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            text, *others = _COMPARED[type(operator)]
            for other in others:
                self._replace_between("comparison", left, right, text, other)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text, other = _CALCULATED.get(type(node.op), ("", ""))
        if text:
            self._replace_between("arithmetic", node.left, node.right, text, other)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        text, other = _CALCULATED.get(type(node.op), ("", ""))
        if text:
            self._replace_between("arithmetic", node.target, node.value, text, other)
        self._add("statement removed", self._span(node), "pass")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        text, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            self._replace_between("boolean", left, right, text, other)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add("boolean", self._span(node), f"bool({self._text(*self._span(node.operand))})")
        elif not isinstance(node.operand, ast.Constant):
            self._add("arithmetic", self._span(node), self._text(*self._span(node.operand)))
        self.generic_visit(node)

    def _replace_between(self, operator: str, left: ast.AST, right: ast.AST, text: str, other: str) -> None:
        start, end = self._span(left)[1], self._span(right)[0]
        at = start + self._text(start, end).index(text)
        self._add(operator, (at, at + len(text)), other)

    def _condition(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.BoolOp | ast.Constant):
            self._add("boolean", self._span(node.test), f"(not ({self._text(*self._span(node.test))}))")
        self.generic_visit(node)

    visit_If = visit_While = visit_IfExp = _condition  # noqa: N815

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._add("constant", self._span(node), str(not value))
        elif isinstance(value, int | float):
            for other in (value + 1, value - 1):
                self._add("constant", self._span(node), f"({other})" if other < 0 else str(other))

    def visit_Call(self, node: ast.Call) -> None:
        if _is_logged(node):
            return
        if _name_of(node) not in _UNORDERED:
            for one, other in pairwise(node.args):
                if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred):
                    (start, middle), (behind, end) = self._span(one), self._span(other)
                    if (first := self._text(start, middle)) != (second := self._text(behind, end)):
                        after = second + self._text(middle, behind) + first
                        self._add("arguments swapped", (start, end), after)
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        self._add("await or lock removed", self._span(node), self._text(*self._span(node.value)))
        self.generic_visit(node)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        if len(node.items) == 1 and node.items[0].optional_vars is None:
            start, end = self._span(node)[0], self._span(node.items[0].context_expr)[1]
            self._add("await or lock removed", (start, end), "if True")
        self.generic_visit(node)

    visit_With = visit_AsyncWith = _with  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        span = self._span(node.body[0])[0], self._span(node.body[-1])[1]
        if not isinstance(node.body[0], ast.Pass):
            self._add("except emptied", span, "pass")
        self.generic_visit(node)

    def _leave(self, node: ast.stmt) -> None:
        if node in self._lasts and ast.unparse(node) in ("return", "return None"):
            return
        self._add(f"{type(node).__name__.lower()} removed", self._span(node), "pass")
        self.generic_visit(node)

    visit_Raise = visit_Return = visit_Continue = visit_Break = _leave  # noqa: N815

    def visit_Expr(self, node: ast.Expr) -> None:
        name = _name_of(node.value)
        if _is_logged(node.value):
            if name in _LOUD:
                self._add("log line removed", self._span(node), "pass")
        elif name:
            self._add("sync or close removed" if name in _SYNCS else "statement removed", self._span(node), "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if ast.unparse(node.targets[0]) == "__all__":
            return
        if not isinstance(node.targets[0], ast.Name | ast.Tuple) and self._function != "__init__":
            self._add("statement removed", self._span(node), "pass")
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._add("statement removed", self._span(node), "pass")

    def _swap_statements(self, parent: ast.AST, block: Sequence[ast.stmt]) -> None:
        if isinstance(parent, ast.Module | ast.ClassDef) or getattr(parent, "name", "") == "__init__":
            return
        for one, other in pairwise(block):
            if isinstance(one, _SIMPLE) and isinstance(other, _SIMPLE) and _order_counts(one, other):
                (start, middle), (behind, end) = self._span(one), self._span(other)
                self._statement = None
                after = self._text(behind, end) + self._text(middle, behind) + self._text(start, middle)
                self._add("order of two", (start, end), after)


def _order_counts(one: ast.stmt, other: ast.stmt) -> bool:
    """Say whether two statements may not simply change places: one acts, and neither makes a name of the other."""
    stored, used = _names(one, ast.Store), _names(other, ast.Store) | _names(other, ast.Load)
    if stored & used or _names(other, ast.Store) & _names(one, ast.Load):
        return False
    if any(_is_logged(s.value) or isinstance(s.value, ast.Constant) for s in (one, other) if isinstance(s, ast.Expr)):
        return False
    if any(isinstance(s, ast.Assign | ast.AnnAssign) and not _acts(s) and _names(s, ast.Store) for s in (one, other)):
        return False
    return (_acts(one) and _acts(other)) or any(isinstance(s, ast.Expr) for s in (one, other))


def _acts(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def all_mutants() -> Iterator[Mutant]:
    """Yield every change of the core."""
    for path in modules():
        yield from mutants_of(path)

"""Code that is read, not puzzled out: how many ways there are through a function (McCabe, as radon counts them)."""

import ast

from radon.complexity import average_complexity, cc_rank, cc_visit

from tests.paths import ROOT

WAYS_MAX = 10
"""Radon's B; a function with more of them begins with a comment that says why."""

REASON = "# Intricate because "
SOURCES = {
    path: path.read_text(encoding="utf-8") for package in ("app", "shards") for path in (ROOT / package).rglob("*.py")
}


def _begins_with_a_reason(source: str, line: int) -> bool:
    """Whether the function at this line has the comment before its first statement, or right above its head."""
    [function] = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.lineno == line
    ]
    first = function.body[ast.get_docstring(function) is not None :] or function.body
    above = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)]) - 1
    head = source.splitlines()[max(above - 1, 0) : first[0].lineno - 1]
    return any(text.strip().startswith(REASON) for text in head)


def test_the_average_function_is_simple() -> None:
    blocks = [block for source in SOURCES.values() for block in cc_visit(source)]
    assert len(blocks) > len(SOURCES)
    assert cc_rank(average_complexity(blocks)) == "A"


def test_who_is_intricate_says_why() -> None:
    silent = {
        f"{path.relative_to(ROOT)}:{block.lineno} {block.fullname}": block.complexity
        for path, source in SOURCES.items()
        for block in cc_visit(source)
        if block.letter in "FM" and block.complexity > WAYS_MAX and not _begins_with_a_reason(source, block.lineno)
    }
    assert silent == {}, f"make it simpler, or begin its body with {REASON!r} and the reason"


def test_a_reason_counts_only_at_the_head() -> None:
    body = '    """What it does."""\n{}    x = 1\n{}    return x\n'
    reason = f"    {REASON}it is.\n"
    for above, before, after, counts in (
        ("", reason, "", True),
        (reason.strip() + "\n", "", "", True),
        ("", "", reason, False),
        ("", "", "", False),
    ):
        source = f"{above}def f():\n{body.format(before, after)}"
        assert _begins_with_a_reason(source, 2 if above else 1) is counts

"""Mutation testing of the core: what one change of `shards` would no test notice?

``python -m tests.mutants`` changes one place of a module, runs the tests that reach it, and counts the changes that
stay unnoticed. Others do not serve: mutmut takes out no statement, lock or sync, and cosmic-ray runs all tests anew
for each change. The modules::

    operators.py    the changes at random: where, and into what
    lists.py        the two lists kept by hand: aimed.toml, and equivalent.toml
    reach.py        one run of all tests with coverage: which test reaches which line, and how long it takes
    fork.py         a process that has everything imported, and runs tests in a child of its own each time
    hunt.py         the runs: quick tests first, then those with a ClickHouse, in a copy of the tree for each worker
    report.py       docs/MUTANTS.md
"""

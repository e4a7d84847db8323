# ruff: noqa: S608 (names are constants and checked ones; text of others enters by heredoc())
"""The comparison of a database's objects with the needed ones, told in sentences."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shards.stores.schema import EVENTS, SCHEMA_VERSION, TABLES, VIEWS, Table, View, buffer_table
from shards.stores.sql import heredoc

_CLAUSE = re.compile(r" (?:PARTITION BY|PRIMARY KEY|ORDER BY|SAMPLE BY|TTL|SETTINGS) ")


@attrs.frozen(kw_only=True)
class FoundObject:
    """One row of ``system.tables``, and its columns: name to (type, kind of default, its expression)."""

    name: str
    engine: str
    engine_full: str
    sorting_key: str
    partition_key: str
    select: str
    create: str
    columns: Mapping[str, tuple[str, str, str]] = attrs.Factory(dict)


def objects_statement(database: str) -> str:
    """Return the SELECT whose rows :func:`found_objects` takes: all objects, and the needed SELECT of each view."""
    needed = ", ".join(f"({heredoc(v.name)}, {heredoc(v.query(database))})" for v in VIEWS)
    return (
        "SELECT name, engine, engine_full, sorting_key, partition_key, "
        "ifNull(formatQuerySingleLineOrNull(as_select), as_select), create_table_query "
        f"FROM system.tables WHERE database = {heredoc(database)} "
        "UNION ALL SELECT v.1, '', '', '', '', formatQuerySingleLine(v.2), '' "
        f"FROM (SELECT arrayJoin([{needed}]) AS v)"
    )


def columns_statement(database: str) -> str:
    """Return the SELECT whose rows are the second argument of :func:`found_objects`."""
    columns = "table, name, type, default_kind, default_expression"
    return f"SELECT {columns} FROM system.columns WHERE database = {heredoc(database)}"


@attrs.frozen
class FoundObjects:
    """The objects of a database, and the needed SELECT of each view as this server prints it."""

    objects: Mapping[str, FoundObject]
    selects: Mapping[str, str]


def found_objects(objects: Sequence[tuple[Any, ...]], columns: Sequence[tuple[Any, ...]]) -> FoundObjects:
    """Return the answers to the two statements as one."""
    of_table: dict[str, dict[str, tuple[str, str, str]]] = {}
    for table, name, type_, default_kind, expression in columns:
        of_table.setdefault(table, {})[name] = (type_, default_kind, expression)
    found, selects = {}, {}
    for name, engine, engine_full, sorting_key, partition_key, select, create in objects:
        if not engine:
            selects[name] = select
            continue
        found[name] = FoundObject(
            name=name,
            engine=engine,
            engine_full=engine_full,
            sorting_key=sorting_key,
            partition_key=partition_key,
            select=select,
            create=create,
            columns=of_table.get(name, {}),
        )
    return FoundObjects(found, selects)


def differences(found: FoundObjects, *, database: str, shard_count: int, missing: bool) -> list[str]:
    """Return a sentence for each object that differs, naming it; with ``missing`` also for those that do not exist."""
    needed: list[Table | View] = [*TABLES, *VIEWS, *(buffer_table(database, k) for k in range(shard_count))]
    sentences: list[str] = []
    for item in needed:
        there = found.objects.get(item.name)
        kind = "view" if isinstance(item, View) else "table"
        if there is None:
            # A missing schema_version is no fault, because open() makes it again.
            if missing and item is not SCHEMA_VERSION:
                sentences.append(f"{kind} {database}.{item.name} is missing")
        elif isinstance(item, View):
            sentences += _view_differences(item, there, database=database, select=found.selects[item.name])
        else:
            sentences += _table_differences(item, there)
    return sentences


def is_of_some_release(found: FoundObjects) -> bool:
    """Return whether the table ``events`` is ours, of this release or of an older one."""
    there, ever = found.objects.get(EVENTS.name), attrs.evolve(EVENTS, derived={})
    return there is not None and not _table_differences(ever, there)


def _table_differences(table: Table, found: FoundObject) -> list[str]:
    sentences = []
    if not _same_engine(table.engine, found):
        sentences.append(f"table {table.name} has engine {_engine(found)}, needed {table.engine}")
    for key, what in (("sorting_key", "ORDER BY"), ("partition_key", "PARTITION BY")):
        is_, needed = getattr(found, key), getattr(table, key)
        if _plain(is_) != _plain(needed):
            sentences.append(f"table {table.name} has {what} {is_ or 'nothing'}, needed {needed or 'nothing'}")
    sentences += [
        f"table {table.name} lacks the setting {setting}"
        for setting in table.required_settings
        if _plain(setting) not in _plain(found.engine_full)
    ]
    return sentences + _column_differences(table, found)


def _column_differences(table: Table, found: FoundObject) -> list[str]:
    sentences = []
    for name, needed in table.columns.items():
        type_, default_kind, _ = found.columns.get(name, ("", "", ""))
        if not type_:
            sentences.append(f"column {table.name}.{name} is missing, needed {needed}")
        elif type_ != needed:
            sentences.append(f"column {table.name}.{name} is {type_}, needed {needed}")
        elif default_kind in {"MATERIALIZED", "ALIAS", "EPHEMERAL"}:
            sentences.append(f"column {table.name}.{name} is {default_kind}, needed an ordinary one")
    for name, needed in table.derived.items():
        is_ = " ".join(filter(None, found.columns.get(name, ()))) or "missing"
        if re.sub(r"[\s`()]", "", is_) != re.sub(r"[\s`()]", "", needed):  # not each ClickHouse prints all parentheses
            sentences.append(f"column {table.name}.{name} is {is_}, needed {needed}")
    return sentences


def _view_differences(view: View, found: FoundObject, *, database: str, select: str) -> list[str]:
    if found.engine != "MaterializedView":
        return [f"view {view.name} is a {found.engine}, needed a MaterializedView"]
    sentences = []
    target = re.search(r" TO ([^\s(]+)", found.create)
    needed = f"{database}.{view.target}"
    if target is None or target[1].replace("`", "") != needed:
        sentences.append(f"view {view.name} writes to {target[1] if target else 'itself'}, needed {needed}")
    if found.select != select:
        sentences.append(f"view {view.name} is {found.select}, needed {select}")
    return sentences


def _same_engine(needed: str, found: FoundObject) -> bool:
    name, _, arguments = needed.partition("(")
    # On a cluster the engine may be the replicated or shared kind, with arguments of its own in front.
    if found.engine != name and found.engine in {f"Replicated{name}", f"Shared{name}"}:
        return _plain(arguments.rstrip(")")) in _plain(_engine(found))
    return found.engine == name and _plain(_engine(found)) == _plain(needed)


def _engine(found: FoundObject) -> str:
    """Return the engine with its arguments, without the clauses that follow."""
    return _CLAUSE.split(found.engine_full or found.engine)[0]


def _plain(expression: str) -> str:
    """Return the expression without spaces, backticks and outer parentheses, which do not change its meaning."""
    text = re.sub(r"\s|`", "", expression)
    if text.startswith("(") and text.endswith(")") and text.find(")") == len(text) - 1:
        text = text[1:-1]
    return text.removesuffix("()")

"""Statements that only tests run: what an operator, an analyst or an accident might do to the database."""

from typing import Any

from shards.stores.base import Store


async def execute(store: Store, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows; ``{db}`` in it is the store's database."""
    return await store._run(sql.replace("{db}", store.database), lane="schema", timeout_s=30)


async def alter(store: Store, change: str) -> None:
    """Alter the table of events."""
    await execute(store, f"ALTER TABLE {{db}}.events {change}")


async def drop(store: Store, *names: str) -> None:
    """Drop tables and views, in this order."""
    for name in names:
        await execute(store, f"DROP TABLE {{db}}.{name} SYNC")


async def drop_database(store: Store) -> None:
    """Drop the database if it is there, with all that is in it."""
    await execute(store, "DROP DATABASE IF EXISTS {db} SYNC")

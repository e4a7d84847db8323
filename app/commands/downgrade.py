"""``fanfinity downgrade``: gives the data directory of a stopped service back to the release before."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from app.config import Config
from app.context import EMBEDDED_DIRECTORY
from app.observability import logs
from app.setting_kinds.environment import ConfigError
from shards import DataDirectoryLocked, DowngradedShard, ErasuresUnderWay, ServerAddress
from shards import downgrade as downgrade_logs

_EXIT_WRONG_SETTING: Final = 2
_STATEMENT: Final = "DELETE FROM {database}.schema_version WHERE version = 5"


@click.command
def downgrade() -> None:
    """Write the log and the dead letters of a stopped service as the release before reads them, rows pending included.

    Needs the settings of the service (FANFINITY_DATA_DIR, FANFINITY_SHARDS). Nothing is lost, and numbers stay. If it
    is broken off, call it again. Then run the statement that it prints, and start the release before. This release
    reads the directory too, should you stay. See docs/UPGRADE.md.
    """
    try:
        config = Config.from_env(os.environ)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_EXIT_WRONG_SETTING)
    logs.configure(config)
    where = config.data_dir.resolve()
    if not (where / "wal").is_dir():
        raise click.ClickException(f"{where} holds no write-ahead log; see FANFINITY_DATA_DIR")
    try:
        shards = downgrade_logs(config.shard_settings())
    except (DataDirectoryLocked, ErasuresUnderWay) as error:
        raise click.ClickException(f"{error}; nothing was changed") from error
    except OSError as error:
        what = f"{error.filename or where}: {error.strerror or error}"
        raise click.ClickException(
            f"{what}; do not start the release before: mend this, and call the command again"
        ) from error
    _show(shards, Console())
    click.echo(f"\nThe log in {where} is in format 1. Now take back the number of the schema:\n")
    click.echo(f"    {_schema_act(config)}\n")
    click.echo(_last_act(max((shard.order_upto for shard in shards), default=0)))


def _last_act(order_upto: int) -> str:
    """Say when the release before may be started: its order is its clock, and orders here can be ahead of that."""
    moment = datetime.fromtimestamp(order_upto // 1_000_000_000 + 1, UTC)
    if moment <= datetime.now(UTC):
        return "Then start the release before."
    reason = "Started earlier, it could count a later copy of an event that was received here instead of the first one."
    return f"Then start the release before, at {moment:%Y-%m-%dT%H:%M:%SZ} or later. {reason}"


def _schema_act(config: Config) -> str:
    if config.clickhouse_url:
        return _STATEMENT.format(database=ServerAddress.parse(config.clickhouse_url).database)
    path = (config.data_dir / EMBEDDED_DIRECTORY).resolve()
    statement = _STATEMENT.format(database="fanfinity")
    return f"""python -c "from chdb.session import Session; Session('{path}').query('{statement}')\""""


def _show(shards: Sequence[DowngradedShard], console: Console) -> None:
    columns = ("shard", "segments written", "records", "pending", "dead letters", "damaged segments kept")
    table = Table(*columns, box=box.SIMPLE, padding=(0, 0, 0, 1), show_edge=False, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
        column.overflow = "fold"
    for shard in shards:
        counts = (shard.log.segments, shard.log.records, shard.pending, shard.letters, len(shard.log.kept))
        table.add_row(str(shard.index), *(f"{count:,}" for count in counts))
    console.print(table)

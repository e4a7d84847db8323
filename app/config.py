"""Settings of the service: environment variables ``FANFINITY_*``, the fields of :class:`Config`.

A setting is added in these places, and tests/unit/app/test_config.py fails until all of them agree:

1. A field of `Config`, with its kind (:mod:`app.setting_kinds`) and its help; out of `NOT_BUILT` if it is there.
2. ``.env.example``: the same order, help, unit and default.
3. The table of defaults in that test.
4. Where the core needs it: a field of the same name in `shards.settings.ShardSettings`, which is copied by name;
   elsewhere `app.context.Context.create` passes it on.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from app.access.addresses import Network
from app.access.keys import ApiKey
from app.setting_kinds import (
    Address,
    Bytes,
    Choice,
    ClickHouseUrl,
    Directory,
    EventTypeNames,
    Host,
    Integer,
    Kind,
    LoopbackAddress,
    Seconds,
    fits_engine,
    hide_password,
)
from app.setting_kinds.access import ApiKeys, Boolean, File
from app.setting_kinds.environment import BY_DEFAULT, PREFIX, ConfigError, Given, Setting, read
from app.setting_kinds.network import FrameOrigins, Networks, Origins, RootPath
from shards import DAYS_MAX, SHARDS_MAX, ShardSettings, WalSync

RATE_MAX = 10_000_000


def _row(kind: Kind[Any], help_: str) -> dict[str, Any]:
    return {"kind": kind, "help": help_}


@attrs.frozen(kw_only=True)
class Config:
    """The settings of the service, one field each; the defaults are those of ``.env.example``."""

    host: str = attrs.field(
        default="127.0.0.1",
        metadata=_row(Host(), "Address to listen on; :: is every one of the machine, IPv4 and IPv6."),
    )
    port: int = attrs.field(default=8080, metadata=_row(Integer(0, 65_535), "Port to listen on; 0 takes a free one."))
    data_dir: Path = attrs.field(
        default=Path("data"),
        metadata=_row(
            Directory(),
            "Directory of the write-ahead log, the dead letters and the embedded engine; for its owner only.",
        ),
    )
    shards: int = attrs.field(
        default=4,
        metadata=_row(Integer(1, SHARDS_MAX), "Number of shard buffers; the hash of a match id picks one."),
    )
    clickhouse_url: str = attrs.field(
        default="",
        repr=hide_password,
        metadata=_row(
            ClickHouseUrl(),
            "ClickHouse, as clickhouse://user:password@host:9000/fanfinity (clickhouses:// for TLS, "
            "with ?ca_certs=FILE for an authority of your own, or ?verify=false); "
            "empty: the embedded engine, under the data directory.",
        ),
    )
    flush_interval_ms: int = attrs.field(
        default=200,
        metadata=_row(Integer(1, 60_000, unit="ms"), "Longest wait of an event before it is sent to ClickHouse."),
    )
    flush_max_rows: int = attrs.field(
        default=10_000,
        metadata=_row(Integer(1, 1_000_000, unit="rows"), "The most events that one INSERT carries."),
    )
    checkpoint_interval_ms: int = attrs.field(
        default=5_000,
        metadata=_row(Integer(50, 600_000, unit="ms"), "Time between two proofs that ClickHouse holds what was sent."),
    )
    wal_sync: WalSync = attrs.field(
        default="always",
        metadata=_row(
            Choice(("always", "interval", "off")),
            "When the log is forced to the disk: always (before each reply), interval, off. "
            "All but always can lose acknowledged events in a power failure.",
        ),
    )
    wal_max_bytes: int = attrs.field(
        default=8 << 30,
        metadata=_row(Bytes(1 << 20), "The most the log may take; beyond it, requests are refused with 503."),
    )
    wal_min_free_bytes: int = attrs.field(
        default=512 << 20,
        metadata=_row(Bytes(0), "Free space the log leaves on its disk; with less, requests are refused with 503."),
    )
    max_body_bytes: int = attrs.field(
        default=10 << 20,
        metadata=_row(Bytes(1 << 10), "The largest body of a request, or line of /bulk, counted after decompression."),
    )
    bodies_max_bytes: int = attrs.field(
        default=256 << 20,
        metadata=_row(
            Bytes(1 << 20),
            "The memory that bodies of requests may hold together; those that find no room in time are refused "
            "with 503.",
        ),
    )
    retention_days: int = attrs.field(
        default=0,
        metadata=_row(
            Integer(0, DAYS_MAX, unit="days"),
            "Least time that ClickHouse keeps an event after its receipt. The event goes within the month after, and "
            "what it counted for goes with it. 0: for ever.",
        ),
    )
    event_types: frozenset[str] = attrs.field(
        default=frozenset(),
        metadata=_row(EventTypeNames(), "Event types taken beside the built-in ones, comma separated."),
    )
    api_keys: tuple[ApiKey, ...] = attrs.field(
        default=(),
        repr=False,
        metadata=_row(
            ApiKeys(),
            "Keys of those who may send and read, as fanfinity keys new prints them, comma separated; "
            "empty: whoever reaches the service may send and read.",
        ),
    )
    api_keys_file: Path | None = attrs.field(
        default=None,
        metadata=_row(
            File(),
            "File of keys, a line each, in place of the setting above; looked at every 10 s and at SIGHUP.",
        ),
    )
    public_read: bool = attrs.field(
        default=True,
        metadata=_row(Boolean(), "Whether pages, streams, metrics and lists of matches need no key."),
    )
    rate_limit: int = attrs.field(
        default=0,
        metadata=_row(
            Integer(0, RATE_MAX, unit="events/s"),
            "Events a second that each key may send, in bursts of 2 s; beyond, requests are refused with 429. 0: any.",
        ),
    )
    address_rate_limit: int = attrs.field(
        default=0,
        metadata=_row(
            Integer(0, RATE_MAX, unit="events/s"),
            "The same for each address that sends without a key, in IPv6 for each /64. Behind a proxy it needs the "
            "setting of trusted proxies: what others forward is refused with 403. 0: any.",
        ),
    )
    cors_origins: frozenset[str] = attrs.field(
        default=frozenset(),
        metadata=_row(
            Origins(),
            "Origins whose pages may send fans' events, as https://fans.example, comma separated; empty: none.",
        ),
    )
    frame_origins: frozenset[str] = attrs.field(
        default=frozenset(),
        metadata=_row(
            FrameOrigins(),
            "Origins whose pages may show the dashboard in a frame, comma separated, or * for all; empty: none. Pages "
            "with forms are never framed.",
        ),
    )
    root_path: str = attrs.field(
        default="",
        metadata=_row(
            RootPath(),
            "Path under which a proxy shows the service, as /fans; the proxy takes it off before it passes a request "
            "on. Empty: none.",
        ),
    )
    trusted_proxies: tuple[Network, ...] = attrs.field(
        default=(),
        metadata=_row(
            Networks(),
            "Addresses and networks of the proxies in front, comma separated: X-Forwarded-For and Forwarded are "
            "believed from these alone; empty: from nobody.",
        ),
    )
    monitor: Address | None = attrs.field(
        default=Address("127.0.0.1", 20_101),
        metadata=_row(
            LoopbackAddress(),
            "Address of the aiomonitor console, whose web page has the next port; loopback only; empty: off.",
        ),
    )
    log_format: Literal["text", "json", ""] = attrs.field(
        default="",
        metadata=_row(Choice(("text", "json", "")), "text or json; empty: text on a terminal, else json."),
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = attrs.field(
        default="INFO",
        metadata=_row(Choice(("DEBUG", "INFO", "WARNING", "ERROR")), "The least severe messages that are logged."),
    )
    shutdown_timeout_s: float = attrs.field(
        default=8.0,
        metadata=_row(
            Seconds(0, 3_600),
            "Time a graceful shutdown may take; what is left by then waits in the log for the next start.",
        ),
    )
    shutdown_delay_s: float = attrs.field(
        default=0.0,
        metadata=_row(
            Seconds(0, 600),
            "Time before a graceful shutdown, in which /ready says 503 and requests are still served, so that "
            "balancers send no more of them when the port closes.",
        ),
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Config":
        """Read every setting of ``environ``; raise ConfigError at the first one that cannot be used.

        ``FANFINITY_API_KEY`` is passed over, because commands read it and often share a file of variables with the
        service; so are the variables that Kubernetes makes.
        """
        return cls.with_sources(environ)[0]

    @classmethod
    def with_sources(cls, environ: Mapping[str, str]) -> "tuple[Config, dict[str, str]]":
        """Return the settings of ``environ``, and by variable where each comes from. Raises ConfigError."""
        table = list(settings())
        given = read(environ, table)
        config = cls(**{field: one.value for field, one in given.items()})
        _check_keys(config)
        _check_engine(config, next(one for one in table if one.field == "data_dir"))
        unset = Given(None, BY_DEFAULT)
        return config, {setting.variable: given.get(setting.field, unset).source for setting in table}

    def shard_settings(self) -> ShardSettings:
        """Return the settings of the shard set."""
        shared = {field.name for field in attrs.fields(ShardSettings)} & {field.name for field in attrs.fields(Config)}
        return ShardSettings(shard_count=self.shards, **{name: getattr(self, name) for name in shared})

    def shown(self) -> dict[str, str]:
        """Return every variable with its value as text, secrets masked."""
        return {setting.variable: setting.kind.show(getattr(self, setting.field)) for setting in settings()}


def settings() -> Iterator[Setting]:
    """Yield the table of all settings, in the order of ``.env.example``."""
    for field in attrs.fields(Config):
        kind: Kind[Any] = field.metadata["kind"]
        yield Setting(field=field.name, default=kind.show(field.default), kind=kind, help=field.metadata["help"])


def _check_keys(config: Config) -> None:
    if config.api_keys and config.api_keys_file:
        raise ConfigError(f"{PREFIX}API_KEYS and {PREFIX}API_KEYS_FILE are both set: put all keys into one of them")


def _check_engine(config: Config, setting: Setting) -> None:
    """Raise ConfigError where the embedded engine is to be used in a directory that it cannot take."""
    if not config.clickhouse_url and not fits_engine(config.data_dir):
        allowed = "a path in UTF-8 and without a question mark, because the embedded engine takes no other"
        raise setting.refusal(str(config.data_dir.absolute()), allowed=allowed)

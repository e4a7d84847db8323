"""Settings of the service: environment variables ``FANFINITY_*``, the fields of :class:`Config`.

A setting is added in these places, and tests/unit/app/test_config.py fails until all of them agree:

1. A field of `Config`, with its kind (:mod:`app.setting_kinds`) and its help; out of :data:`NOT_BUILT` if it is there.
2. ``.env.example``: the same order, help, unit and default.
3. The table of defaults in that test.
4. Where the core needs it: a field of the same name in `shards.settings.ShardSettings`, which is copied by name;
   elsewhere `app.context.Context.create` passes it on.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from app.access.addresses import Network
from app.access.keys import ApiKey, KeyLineError
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
from app.setting_kinds.network import Networks, Origins
from shards import DAYS_MAX, SHARDS_MAX, ShardSettings, WalSync

PREFIX = "FANFINITY_"
RATE_MAX = 10_000_000

NOT_BUILT = ("CLICKHOUSE_CLUSTER",)
"""Settings to come that are refused, because this version does not act on them and nobody may rely on them."""

API_KEY = f"{PREFIX}API_KEY"
API_KEY_HELP = (
    "Key that commands send to a --url other than that of the service on this data directory."
    " To that service they send the token in its file admin-token. The service does not read this variable."
)


class ConfigError(Exception):
    """The environment cannot be used; the message is one line for the person who starts the service."""


@attrs.frozen
class Setting:
    """One row of the table: how a variable is written, and what it means."""

    field: str
    default: str
    kind: Kind[Any]
    help: str

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.field.upper()

    def parse(self, text: str) -> object:
        """Return the value of ``text``; raise ConfigError where it is not allowed."""
        try:
            return self.kind.parse(text.strip())
        except KeyLineError as error:
            raise self.refusal(text, allowed=f"{self.kind.allowed}; {error}") from None
        except ValueError:
            raise self.refusal(text) from None

    def refusal(self, text: str, *, allowed: str = "") -> ConfigError:
        """Return the error of a value that is not allowed, which shows it only where it cannot hold a secret."""
        shown = "***" if self.kind.hides(text) else repr(text)
        return ConfigError(f"{self.variable}={shown} is not allowed: it must be {allowed or self.kind.allowed}")


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

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Config":
        """Read every setting of ``environ``; raise ConfigError at the first one that cannot be used.

        ``FANFINITY_API_KEY`` is passed over, because commands read it and often share a file of variables with the
        service.
        """
        known = {setting.variable: setting for setting in settings()}
        given = {name: text for name, text in sorted(environ.items()) if name.startswith(PREFIX)}
        values: dict[str, Any] = {}
        for name, text in given.items():
            if name in known:
                values[known[name].field] = known[name].parse(text)
            elif name != API_KEY and (text or name.removeprefix(PREFIX) not in NOT_BUILT):
                raise ConfigError(_unknown(name, known))
        config = cls(**values)
        _check_keys(config)
        _check_engine(config, known[f"{PREFIX}DATA_DIR"])
        return config

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


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    if name.removeprefix(PREFIX) in NOT_BUILT:
        return f"{name} is set, but this version does not act on it yet: unset it, and do not rely on it"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name} is not a setting; the nearest is {near[0]}"

"""Everything the service depends on, made in one place, started and closed in one order."""

import time

import attrs
import structlog
from aiohttp import web

from app.access.acts import Acts
from app.access.addresses import TrustedProxies
from app.access.keyring import Keyring
from app.access.limits import Limits
from app.access.principal import OPERATOR, PRINCIPAL, Principal
from app.access.seals import Seals
from app.access.sessions import VISITOR, Sessions
from app.bodies.room import BodyRoom
from app.config import Config
from app.engagement.rendered import RenderedMetrics
from app.live import Live
from app.live.waiting import Patience
from app.observability.prometheus import Telemetry
from app.observability.readiness import Readiness, readiness_of
from app.observability.response_times import ResponseTimes
from app.schemas.event_types import EventTypes
from app.schemas.events import EventSchema
from app.setting_kinds.environment import PREFIX, ConfigError
from app.web.admin_token import AdminAccess
from shards import (
    EmbeddedStore,
    EventReads,
    KnownEvents,
    MatchReads,
    Observer,
    RepeatedLines,
    ServerStore,
    ShardSet,
    Snapshot,
    Store,
)

_log = structlog.stdlib.get_logger(__name__)

EMBEDDED_DIRECTORY = "clickhouse"
"""Directory of the embedded engine, inside the data directory."""

NO_ENGINE = (
    f"{PREFIX}CLICKHOUSE_URL is empty, and the embedded engine is not installed: set the address of a ClickHouse, "
    "or install the engine with pip install 'fanfinity-analytics[embedded]' (as an image: the target full)"
)

DRAIN_SHARE = 0.85
"""Part of the remaining time that draining may take, because closing the stores needs some too."""


@attrs.define
class Shutdown:
    """The clock of the shutdown: whether one is announced, and the seconds that are left of it once it has begun."""

    timeout_s: float
    announced: bool = attrs.field(default=False, init=False)
    """Whether balancers are told to send nothing more, and clients to connect anew: requests are served until the end.
    """
    _deadline_s: float | None = attrs.field(default=None, init=False)

    @property
    def begun(self) -> bool:
        """Whether :meth:`begin` was called."""
        return self._deadline_s is not None

    def announce(self) -> None:
        """Announce it, some time before it begins."""
        self.announced = True

    def begin(self) -> None:
        """Start the clock, the first time this is called."""
        self.announced = True
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + self.timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left, at least 0."""
        return self.timeout_s if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())


@attrs.frozen(kw_only=True)
class Context:
    """Everything that handlers, dashboard, monitor and commands work with. Made by :meth:`create`."""

    config: Config
    admin: AdminAccess
    keyring: Keyring
    seals: Seals
    sessions: Sessions
    acts: Acts
    proxies: TrustedProxies
    limits: Limits
    telemetry: Telemetry
    store: Store
    shards: ShardSet
    reads: MatchReads
    known: KnownEvents
    live: Live
    response_times: ResponseTimes
    rendered: RenderedMetrics
    events_schema: EventSchema
    room: BodyRoom
    shutdown: Shutdown
    store_failures: RepeatedLines = attrs.field(factory=RepeatedLines, init=False)
    """Lines about reads that failed."""

    @classmethod
    def create(cls, config: Config) -> "Context":
        """Wire everything; nothing is opened, connected or started yet. Raises KeysFileError, or ConfigError."""
        event_types = EventTypes.with_extra(config.event_types).known
        telemetry = Telemetry(shards=config.shards, event_types=event_types)
        store = _store(config, telemetry.storing)
        shards = ShardSet(config.shard_settings(), store, observer=telemetry.storing)
        reads = MatchReads(store, shards)
        response_times = ResponseTimes()
        patience = Patience(lambda: shards.store_is_away)
        rendered = RenderedMetrics(response_times, store_state=lambda: shards.store_state)
        events = EventReads(store, shards)
        live = Live(reads, events, rendered, clock=shards.clock, watch=shards.watch, patience=patience)
        admin, seals = AdminAccess(config.data_dir), Seals()
        keyring = Keyring(config.api_keys, config.api_keys_file)
        context = cls(
            config=config,
            admin=admin,
            keyring=keyring,
            seals=seals,
            acts=Acts(config.data_dir),
            sessions=Sessions(seals, keyring, admin.proof),
            proxies=TrustedProxies(config.trusted_proxies),
            limits=Limits.of_rates(config.rate_limit, config.address_rate_limit),
            telemetry=telemetry,
            store=store,
            shards=shards,
            reads=reads,
            known=KnownEvents(store),
            live=live,
            response_times=response_times,
            rendered=rendered,
            events_schema=EventSchema(
                clock=shards.clock,
                extra_types=config.event_types,
                refused_until_ms=shards.erasures.refused_until_ms,
            ),
            room=BodyRoom(config.bodies_max_bytes),
            shutdown=Shutdown(config.shutdown_timeout_s),
        )
        for forget in (reads.forget, live.forget, rendered.forget, response_times.forget):
            shards.erasures.tell(forget)
        telemetry.watch(shards=shards, live=live, readiness=context.readiness)
        return context

    def holder(self, secret: str) -> Principal | None:
        """Return who a key, or the admin token, belongs to; None where it is none of these, or its time is over."""
        if self.admin.is_token(secret):
            return OPERATOR
        key = self.keyring.find(secret)
        return key.principal if key is not None and self.keyring.in_force(key) else None

    @property
    def stopping(self) -> bool:
        """Whether a shutdown is announced: from then on the service says that it is not ready."""
        return self.shutdown.announced

    def readiness(self, snapshot: Snapshot | None = None) -> Readiness:
        """Return what is said of the present state, or of a snapshot of the shard set."""
        snapshot = snapshot or self.shards.snapshot()
        return readiness_of(snapshot, stopping=self.stopping, keys_trouble=self.keyring.trouble)

    async def start(self) -> None:
        """Start the shard set, which recovers the log and opens the store; ClickHouse may be away.

        Raises DataDirectoryLocked, or OSError where the data directory cannot be used.
        """
        self.telemetry.lag.start()
        await self.shards.start()
        self.seals.open(self.config.data_dir)
        self.keyring.start(self.shards.watch)

    async def end_streams(self) -> None:
        """Say that the service is not ready any more, and end every stream of a viewer."""
        self.shutdown.begin()
        await self.live.close()

    async def close(self) -> None:
        """Close the admin access, drain the shards within the shutdown's time, then close them, then the store."""
        self.shutdown.begin()
        self.admin.close()  # while the directory is locked, because later the file may be another process's
        await self.keyring.close()
        self.telemetry.lag.close()
        self.store_failures.end()
        self.limits.strangers.end()
        began = time.monotonic()
        drained = await self.shards.drain(timeout_s=self.shutdown.left_s() * DRAIN_SHARE)
        left = self.shards.snapshot()
        await self.shards.close()
        await self.store.close()
        _log.info(
            "service stopped",
            drained=drained,
            seconds=round(time.monotonic() - began, 1),
            confirmed=left.confirmed,
            pending=left.pending,
        )


def _store(config: Config, observer: Observer) -> Store:
    shards, days = config.shards, config.retention_days
    if config.clickhouse_url:
        return ServerStore(config.clickhouse_url, shard_count=shards, retention_days=days, observer=observer)
    if not EmbeddedStore.is_installed():
        raise ConfigError(NO_ENGINE)
    path = config.data_dir / EMBEDDED_DIRECTORY
    return EmbeddedStore(path, shard_count=shards, retention_days=days, observer=observer)


CONTEXT = web.AppKey("context", Context)
"""Everything the service depends on."""


def may_go_on(request: web.Request) -> bool:
    """Say whether the key or session that a request came with is still good; True for one that came with none.

    A stream may go on for days, and with a key that was revoked, or whose time is over, it must not.
    """
    context, visitor = request.app[CONTEXT], request.get(VISITOR)
    if visitor is not None and context.sessions.visitor(visitor.text) is None:
        return False
    return context.keyring.holds(request[PRINCIPAL])

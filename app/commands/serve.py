"""``fanfinity serve``: the service as a process, from its environment to its exit code.

Exit codes: 0 after a graceful shutdown, 1 where it could not start, 2 for a wrong setting, 128 + number of the
signal where a second one cut the shutdown short.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from typing import NoReturn

import click
import structlog
import uvloop

from app.access.keyring import KeysFileError
from app.config import Config, settings
from app.context import CONTEXT, Context
from app.observability import logs
from app.server.application import HANDLERS_SHARE, create_app
from app.server.protocol import ServiceRunner
from app.setting_kinds import Address, hide_password
from app.setting_kinds.environment import PREFIX, ConfigError
from app.web.admin_token import reachable
from shards import DataDirectoryLocked

_log = structlog.stdlib.get_logger(__name__)

EXIT_NOT_STARTED = 1
EXIT_WRONG_SETTING = 2

FILES_MAX = 1 << 20

GRACE_S = 10.0
"""Seconds after which Docker kills a container that was told to end; Kubernetes gives it 30."""

FOR_THE_OWNER = 0o077
"""The mask that takes from new files the rights of everybody else."""

SWITCH_INTERVAL_S = 0.001
"""Seconds after which a thread that is busy in Python gives way to another. The event loop lets go of the interpreter
at every system call, several times a request, and would each time wait for Python's default, which is five times this.
"""

COLLECT_EVERY = 5_000
"""Objects made beyond those freed before the garbage collector looks at the new ones. With Python's default, a crowd
that connects has it look at everything several times, which stops all requests for as long.
"""

COLLECT_OLDER_EVERY = 100
"""Collections of new objects before one of those that outlived them, because all the crowd is among these. Objects in
cycles, as some 20 of a request that no route matches, mostly go with the new ones; the rest of them wait for longer.
"""

SAME_REQUEST_S = 0.5
"""Seconds within which two signals count as one, because ``timeout`` sends one to the process and one to its group."""


class StartError(Exception):
    """The service cannot start; the message is one line that says what to do."""


def _checked(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """Return what was given for the setting of that name; raise BadParameter where it is not allowed."""
    setting = next(one for one in settings() if one.field == param.name)
    try:
        if text is not None:
            setting.parse(text)
    except ConfigError:
        raise click.BadParameter(f"it must be {setting.kind.allowed}", ctx, param) from None
    return text


@click.command
@click.option("--host", callback=_checked, help="Address to listen on, in place of FANFINITY_HOST.")
@click.option("--port", callback=_checked, help="Port to listen on, in place of FANFINITY_PORT; 0 takes a free one.")
def serve(*, host: str | None, port: str | None) -> None:
    """Run the service; settings are environment variables, listed by 'fanfinity config' and in .env.example.

    SIGTERM or SIGINT ends it gracefully, after FANFINITY_SHUTDOWN_DELAY_S, a second one at once: the write-ahead log
    keeps what was not stored. So does SIGHUP where standard error is a terminal, because that was closed; elsewhere,
    and under nohup, it ends nothing.
    """
    os.umask(FOR_THE_OWNER)  # also what the embedded engine makes
    try:
        given = {f"{PREFIX}HOST": host, f"{PREFIX}PORT": port}
        config = Config.from_env(os.environ | {name: text for name, text in given.items() if text is not None})
    except ConfigError as error:
        logs.configure(_only_log_format())
        _fail(str(error), EXIT_WRONG_SETTING)
    logs.configure(config)
    _raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        uvloop.run(_serve(config))
    except ConfigError as error:
        _fail(str(error), EXIT_WRONG_SETTING)
    except StartError as error:
        _fail(str(error), EXIT_NOT_STARTED)


def _raise_file_limit() -> None:
    """Allow as many open files, and so connections, as this process may have, because the default is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # the system has limits that it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _spare_the_collector() -> None:
    """Exempt what was loaded for the start from garbage collection, because it stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, COLLECT_OLDER_EVERY)


def _only_log_format() -> Config:
    """Return the defaults with the log format that is set, so that an error of another setting has that format."""
    variable = f"{PREFIX}LOG_FORMAT"
    with contextlib.suppress(ConfigError):
        return Config.from_env({variable: os.environ.get(variable, "")})
    return Config()


def _fail(error: str, code: int) -> NoReturn:
    _log.critical("service not started", error=error)
    sys.exit(code)


async def _serve(config: Config) -> None:
    try:
        app = create_app(config)
    except OSError as error:
        raise _cannot_use(config, error) from error
    except KeysFileError as error:
        raise StartError(f"{error}; see FANFINITY_API_KEYS_FILE") from error
    runner = ServiceRunner(
        app,
        handle_signals=False,
        access_log=None,
        shutdown_timeout=config.shutdown_timeout_s * HANDLERS_SHARE / 2,  # aiohttp waits for this twice
    )
    stop = asyncio.Event()
    try:
        _watch_signals(stop, app[CONTEXT])
        await _start(runner, config)
        _spare_the_collector()
        _announce(config, runner)
        await stop.wait()
        await asyncio.sleep(config.shutdown_delay_s)
        app[CONTEXT].shutdown.begin()
    finally:
        await runner.cleanup()


async def _start(runner: ServiceRunner, config: Config) -> None:
    try:
        await runner.setup()
    except DataDirectoryLocked as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise _cannot_use(config, error) from error
    try:
        await runner.listen(config.host, config.port, opening=runner.app[CONTEXT].admin.open)
    except OSError as error:
        wanted = Address(config.host, config.port)
        reason = error.strerror or str(error)
        raise StartError(f"cannot listen on {wanted}: {reason}; see FANFINITY_HOST and FANFINITY_PORT") from error


def _cannot_use(config: Config, error: OSError) -> StartError:
    reason = error.strerror or str(error)
    where = repr(str(config.data_dir))
    with contextlib.suppress(OSError):  # the working directory may be gone
        where = os.path.realpath(config.data_dir)
    return StartError(f"cannot use {where}: {reason}; see FANFINITY_DATA_DIR")


def _watch_signals(stop: asyncio.Event, context: Context) -> None:
    loop = asyncio.get_running_loop()
    first_s = 0.0
    on_terminal = sys.stderr.isatty()  # one that was closed does not pass for a terminal any more

    def received(number: signal.Signals) -> None:
        nonlocal first_s
        if stop.is_set():
            if loop.time() - first_s < SAME_REQUEST_S:
                return
            effect = "the write-ahead log keeps what was not stored"
            _log.warning("service ending at once", signal=number.name, effect=effect)
            logging.shutdown()
            os._exit(128 + number)
        _log.info("service stopping", signal=number.name, served_s=context.config.shutdown_delay_s)
        first_s = loop.time()
        context.shutdown.announce()
        stop.set()

    def hung_up() -> None:
        if not on_terminal:
            if not context.keyring.look():
                _log.info("nothing to read again", signal="SIGHUP", reason="no setting is read from a file")
        elif not stop.is_set():
            received(signal.SIGHUP)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks for that
        loop.add_signal_handler(signal.SIGHUP, hung_up)


def _announce(config: Config, runner: ServiceRunner) -> None:
    host, port = runner.listens_at
    where = hide_password(config.clickhouse_url) or "embedded in this process"
    if not runner.app[CONTEXT].keyring.required:
        reason = "whoever reaches this address may send and read: there are no API keys, see fanfinity keys new"
        _log.warning("service open to everyone", reason=reason)
    longest_s = config.shutdown_delay_s + config.shutdown_timeout_s
    if config.shutdown_delay_s and longest_s > GRACE_S:
        remedy = "give it more: stop_grace_period, terminationGracePeriodSeconds, TimeoutStopSec; or make them shorter"
        reason = (
            f"Docker kills what has not ended after {GRACE_S:g} s, and what was not stored waits for the next start"
        )
        _log.warning("shutdown may take long", longest_s=longest_s, reason=reason, remedy=remedy)
    _log.info(
        "service ready",
        dashboard=f"http://{Address(reachable(host), port)}/",
        data_dir=os.path.realpath(config.data_dir),
        clickhouse=where,
    )

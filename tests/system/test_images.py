"""The images, built for real: how large they are, who they run as, and what they do with a read-only root."""

from importlib.metadata import version

import pytest

from app.observability.version import PACKAGE
from tests.clickhouse import ClickHouseServer, free_port
from tests.paths import ROOT
from tests.system.asking import ask, send, until_ready, until_stored
from tests.system.conftest import COMMIT
from tests.system.engine import Engine

SLIM_MAX_BYTES = 120_000_000
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
COMPILERS = ("cc", "gcc", "g++", "clang", "make", "pip")


def listening(port: int, *settings: str) -> tuple[str, ...]:
    """Options of a service on this port of 127.0.0.1."""
    given = ("HOST=127.0.0.1", f"PORT={port}", "MONITOR=", *settings)
    return tuple(part for setting in given for part in ("--env", f"FANFINITY_{setting}"))


def test_slim_is_small_and_has_no_engine(engine: Engine, slim: str, base_bytes: int) -> None:
    above = int(engine.inspect(slim)["Size"]) - base_bytes
    print(f"slim: {above / 1e6:.1f} MB above the base")
    assert above < SLIM_MAX_BYTES
    absent = "import importlib.util as u; assert u.find_spec('app') and not u.find_spec('chdb')"
    engine("run", "--rm", "--network", "none", "--entrypoint", "python", slim, "-c", absent)


def test_slim_without_an_address_ends_with_one_line_that_says_what_to_do(engine: Engine, slim: str) -> None:
    with engine.container("no-address", slim) as container:
        assert engine("wait", container.name) == "2"
        [line] = container.log.splitlines()
        assert "FANFINITY_CLICKHOUSE_URL is empty" in line
        assert "the target full" in line


@pytest.mark.parametrize("target", ["slim", "full"])
def test_an_image_says_what_it_is_and_has_nothing_that_compiles(
    engine: Engine, target: str, request: pytest.FixtureRequest
) -> None:
    image: str = request.getfixturevalue(target)
    config = engine.inspect(image)["Config"]
    assert (config["User"], config["StopSignal"], list(config["Volumes"])) == ("65532:65532", "SIGTERM", ["/data"])
    label = "org.opencontainers.image"
    assert config["Labels"][f"{label}.revision"] == COMMIT
    assert config["Labels"][f"{label}.version"] == version(PACKAGE)
    shell = ("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c")
    assert engine(*shell, "id -u; id -g; stat -c %u:%a /data") == "65532\n65532\n65532:700"
    assert engine(*shell, f"for one in {' '.join(COMPILERS)}; do command -v $one; done; true") == ""
    assert engine("run", "--rm", "--network", "none", image, "--version").endswith(
        f"{version(PACKAGE)} (commit {COMMIT})"
    )


def test_full_stores_events_with_a_read_only_root_and_keeps_them_over_a_stop(engine: Engine, full: str) -> None:
    """CASES C1: no user in /etc/passwd is needed, no TMPDIR, no capability."""
    port = free_port()
    with engine.container("embedded", full, options=(*HARDENED, *listening(port))) as container:
        assert set(until_ready(port).values()) == {"healthy"}
        send(port, 500)
        until_stored(port, 500)
        send(port, 500)
        assert container.stop() == 0
        assert '"event": "service stopped", "drained": true' in container.log
        container.start()
        until_ready(port)
        assert ask(port, "GET", "/api/matches/derby/metrics")[1]["totalEvents"] == 1000
        container.send("KILL")
        engine("wait", container.name)
        container.start()
        until_ready(port)
        assert ask(port, "GET", "/api/matches/derby/metrics")[1]["totalEvents"] == 1000


def test_slim_stores_events_in_a_server_with_a_read_only_root(
    engine: Engine, slim: str, own_clickhouse: ClickHouseServer, database: str
) -> None:
    port = free_port()
    address = f"CLICKHOUSE_URL={own_clickhouse.url}/{database}"
    with engine.container("server", slim, options=(*HARDENED, *listening(port, address))) as container:
        until_ready(port)
        send(port, 500)
        until_stored(port, 500)
        assert container.stop() == 0


def test_the_health_check_turns_with_the_service(engine: Engine, full: str) -> None:
    port = free_port()
    often = ("--health-interval", "1s", "--health-timeout", "1s", "--health-retries", "2")
    with engine.container("health", full, options=(*HARDENED, *often, *listening(port))) as container:
        print(f"healthy after {container.until_health('healthy'):.1f} s")
        container.send("STOP")
        container.until_health("unhealthy")
        container.send("CONT")
        container.until_health("healthy")


@pytest.mark.usefixtures("slim")
def test_a_version_that_is_not_the_wheels_ends_the_build(engine: Engine) -> None:
    with pytest.raises(AssertionError, match=r"fanfinity_analytics-9\.9\.9"):
        engine.build("slim", ROOT, COMMIT=COMMIT, VERSION="9.9.9")

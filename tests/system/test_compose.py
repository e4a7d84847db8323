"""The composition, brought up: what it publishes answers, events get through to ClickHouse, and outlive a restart."""

import contextlib
import json
import re
import resource
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.clickhouse import free_port
from tests.paths import ROOT
from tests.system import stand_ins
from tests.system.asking import needs_the_address_in_a_file
from tests.system.engine import Engine
from tests.system.proxies.configured import for_older_nginx
from tests.system.tools import run, tool

DEADLINE_S: Final = 120


class Composition:
    """A copy of docker/compose.yaml with free ports, whose images are there already."""

    def __init__(self, engine: Engine, directory: Path, secrets: Path) -> None:
        self._engine, self._secrets = engine, secrets
        self.file = directory / "docker" / "compose.yaml"
        shutil.copytree(ROOT / "docker", self.file.parent, ignore=shutil.ignore_patterns("secrets"))
        shutil.copytree(secrets, self.file.parent / "secrets")
        (self.file.parent / "secrets" / "clickhouse_url").write_text("clickhouse://default@clickhouse:9000/fanfinity")
        configuration = self.file.parent / "nginx" / "nginx.conf"
        configuration.write_text(for_older_nginx(configuration.read_text()))
        self.ports = {port: free_port() for port in (3000, 8443, 9090)}
        text = re.sub(r"^name: .*\n", "", self.file.read_text(), flags=re.MULTILINE)
        for port, free in self.ports.items():
            assert f"127.0.0.1:{port}:{port}" in text
            text = text.replace(f"127.0.0.1:{port}:{port}", f"127.0.0.1:{free}:{port}")
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # a container may have no more
        self.file.write_text(re.sub(r"nofile: (\d+)", lambda found: f"nofile: {min(most, int(found[1]))}", text))
        self.images = {name: str(one["image"]) for name, one in yaml.safe_load(self("config"))["services"].items()}

    def __call__(self, *arguments: str, timeout_s: float = 180) -> str:
        """Return what Compose printed."""
        command = (tool("docker-compose"), "--project-name", "fanfinity", "-f", self.file)
        return run(*command, *arguments, env=self._engine.environ, timeout_s=timeout_s)

    def ask(self, path: str, *arguments: str) -> dict[str, Any]:
        """Ask the service through nginx, over HTTP/2; {} where it does not answer yet."""
        options: tuple[str | Path, ...] = (
            "--silent",
            "--http2",
            "--cacert",
            self._secrets / "tls_certificate",
            *arguments,
        )
        try:
            return dict(json.loads(run(tool("curl"), *options, f"https://127.0.0.1:{self.ports[8443]}{path}")))
        except (AssertionError, ValueError):
            return {}

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"{self('ps')}\n{self('logs', '--tail=20')}"
            time.sleep(0.5)


@pytest.fixture
def composition(engine: Engine, slim: str, secrets: Path, tmp_path: Path) -> Iterator[Composition]:
    """The composition, up, with stand-ins for the images of registries."""
    needs_the_address_in_a_file()
    made = Composition(engine, tmp_path, secrets)
    assert made.images["fanfinity"] == slim
    context = tmp_path / "stand_ins"
    context.mkdir()
    stand_ins.build(engine, made.images, context)
    with bridged():
        try:
            made("up", "--detach", "--no-build")
            yield made
        finally:
            made("down", "--volumes", "--timeout", "5")


@contextlib.contextmanager
def bridged() -> Iterator[None]:
    """Let containers reach each other, also where another engine of the machine has every other bridge closed."""
    rule = ("FORWARD", "-i", "br-+", "-o", "br-+", "-j", "ACCEPT")
    run(tool("iptables"), "-I", *rule)
    try:
        yield
    finally:
        run(tool("iptables"), "-D", *rule)


def scraped(composition: Composition) -> bool:
    """Whether Prometheus has the service's own figure of what it took."""
    query = "query=sum(fanfinity_events_ingested_total)"
    with urllib.request.urlopen(
        f"http://127.0.0.1:{composition.ports[9090]}/api/v1/query?{query}", timeout=10
    ) as reply:
        found = json.loads(reply.read())["data"]["result"]
    return bool(found) and float(found[0]["value"][1]) == 20


def test_the_composition_takes_stores_and_keeps_events(composition: Composition) -> None:
    composition.until(lambda: composition.ask("/ready").get("status") == "ready")
    events = json.dumps([{"eventType": "cheer"}] * 20)
    header = ("--header", "Content-Type: application/json")
    assert composition.ask("/api/matches/derby/events", *header, "--data", events)["accepted"] == 20
    composition.until(lambda: composition.ask("/api/status")["accounting"]["confirmed"] == 20)
    composition.until(lambda: scraped(composition))
    composition("restart", "fanfinity", "clickhouse")
    # One may be back before the other is away, so that it is not yet known.
    composition.until(lambda: composition.ask("/api/matches/derby/metrics").get("totalEvents") == 20)
    composition.until(lambda: composition.ask("/ready").get("status") == "ready")

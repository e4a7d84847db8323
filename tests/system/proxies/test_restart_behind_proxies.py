"""A graceful restart behind HAProxy and nginx, at 300 requests a second: none of two services' fails, none is lost."""

import asyncio
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import attrs
import pytest

from tests.clickhouse import free_port
from tests.e2e.asking import get, until
from tests.e2e.process import Process
from tests.system.proxies.in_front import in_front_of

RATE: Final = 300
MATCH: Final = "derby"
DELAY_S: Final = 3
BEFORE_S: Final = 2.0
AFTER_S: Final = 3.0
RETRY_S: Final = 1.0
CONNECTIONS_MAX: Final = 200

_NGINX: Final = """
daemon off; master_process off; pid {{directory}}/nginx.pid; error_log stderr;
events {{{{}}}}
http {{{{
    access_log off;
    client_body_temp_path {{directory}}/body; proxy_temp_path {{directory}}/proxy; fastcgi_temp_path {{directory}}/fcgi;
    uwsgi_temp_path {{directory}}/uwsgi; scgi_temp_path {{directory}}/scgi;
    upstream services {{{{ {servers} {kept} }}}}
    server {{{{
        listen 127.0.0.1:{{port}};
        location / {{{{
            proxy_pass http://services;
            proxy_next_upstream error;
            {http}
        }}}}
    }}}}
}}}}
"""
_HAPROXY: Final = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option redispatch
frontend outside
    bind 127.0.0.1:{{port}}
    default_backend services
backend services
    option httpchk GET /ready
    http-check expect status 200
    default-server check inter 300ms fall 2 rise 2
{servers}
"""
PROXIES: Final = ("haproxy", "nginx", "nginx that keeps connections")


def _template(proxy: str, ports: list[int]) -> str:
    """Return the configuration of a proxy in front of services at these ports, as `in_front_of` takes it."""
    if proxy == "haproxy":
        return _HAPROXY.format(servers="\n".join(f"    server s{port} 127.0.0.1:{port}" for port in ports))
    servers = " ".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;" for port in ports)
    if proxy == "nginx":
        return _NGINX.format(servers=servers, kept="", http="")
    http = 'proxy_http_version 1.1; proxy_set_header Connection "";'
    return _NGINX.format(servers=servers, kept="keepalive 32;", http=http)


@attrs.define
class Traffic:
    """Events, one a request, at a steady rate; ``again``: what failed is sent until it is acknowledged."""

    url: str
    again: bool = False
    sent: int = 0
    answers: Counter[str] = attrs.field(factory=Counter)
    _ending: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self) -> None:
        """Send until told to end, and wait for the last answer."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            began = time.monotonic()
            while not self._ending.is_set():
                while self.sent < (time.monotonic() - began) * RATE:
                    self.sent += 1
                    group.create_task(self._send(session))
                await asyncio.sleep(0.002)

    def end(self) -> None:
        self._ending.set()

    async def _send(self, session: aiohttp.ClientSession) -> None:
        event = {"eventId": str(uuid.uuid4()), "matchId": MATCH, "eventType": "cheer"}
        while True:
            answer = await self._once(session, event)
            self.answers[answer] += 1
            if answer == "202" or not self.again:
                return
            await asyncio.sleep(RETRY_S)

    async def _once(self, session: aiohttp.ClientSession, event: Mapping[str, str]) -> str:
        try:
            async with session.post(f"{self.url}/api/events", json=event) as reply:
                await reply.read()
                return str(reply.status)
        except (aiohttp.ClientError, OSError) as error:
            return type(error).__name__


@attrs.define
class Services:
    """Services on one ClickHouse, each with a data directory and a port of its own that outlive a restart."""

    directory: Path
    clickhouse_url: str
    ports: list[int]
    running: dict[int, Process] = attrs.field(factory=dict)

    async def start(self, port: int) -> None:
        """Start the service of a port; return when it is ready, with ClickHouse."""
        settings = {"PORT": port, "DATA_DIR": self.directory / str(port), "MONITOR": "", "LOG_FORMAT": "json"}
        settings |= {"SHARDS": 2, "CLICKHOUSE_URL": self.clickhouse_url, "SHUTDOWN_DELAY_S": DELAY_S}
        self.running[port] = service = await Process.start("serve", settings=settings)
        await service.url()  # its port opens by itself, before or after ClickHouse is there
        await service.event("clickhouse ready")

    async def restart(self, port: int) -> None:
        """End a service gracefully, and start it again."""
        service = self.running.pop(port)
        assert await service.ends(signal.SIGTERM) == 0
        assert (await service.event("service stopped"))["drained"]
        assert service.faults == []
        await self.start(port)

    async def takes(self, port: int) -> None:
        """Wait until the proxy sends events to a service: before, nobody would restart the other one."""
        status = f"http://127.0.0.1:{port}/api/status"
        async with aiohttp.ClientSession() as http:
            before = (await get(http, status))["accounting"]["appended"]

            async def taken() -> bool:
                return bool((await get(http, status))["accounting"]["appended"] > before)

            await until(taken)

    async def appended(self) -> int:
        """Return how many events their logs have taken, once all are stored."""
        counted = 0
        async with aiohttp.ClientSession() as http:
            for port in self.ports:

                async def stored(url: str = f"http://127.0.0.1:{port}/api/status") -> bool:
                    return bool((await get(http, url))["accounting"]["pending"] == 0)

                await until(stored)
                counted += int((await get(http, f"http://127.0.0.1:{port}/api/status"))["accounting"]["appended"])
        return counted

    async def total(self) -> int:
        """Return how many events of the match each of them counts."""
        async with aiohttp.ClientSession() as http:
            urls = [f"http://127.0.0.1:{port}/api/matches/{MATCH}/metrics" for port in self.ports]

            async def agreed() -> bool:
                return len({(await get(http, url))["totalEvents"] for url in urls}) == 1

            await until(agreed)
            return int((await get(http, urls[0]))["totalEvents"])


@asynccontextmanager
async def services(number: int, directory: Path, clickhouse_url: str) -> AsyncIterator[Services]:
    """Run so many services on one database."""
    ports: list[int] = []
    while len(ports) < number:
        ports = sorted({*ports, free_port()})
    them = Services(directory, clickhouse_url, ports)
    try:
        for port in ports:
            await them.start(port)
        yield them
    finally:
        for service in them.running.values():
            await service.close()


@asynccontextmanager
async def traffic_through(proxy: str, them: Services, *, again: bool = False) -> AsyncIterator[Traffic]:
    """Send through a proxy in front of services: some time before the block, during it, and some time after it."""
    template = _template(proxy, them.ports)
    async with in_front_of("", proxy.partition(" ")[0], them.directory, template=template) as url:
        traffic = Traffic(url, again=again)
        sending = asyncio.create_task(traffic.run())
        await asyncio.sleep(BEFORE_S)
        yield traffic
        await asyncio.sleep(AFTER_S)
        traffic.end()
        await sending


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_restart_of_one_of_two_fails_no_request(
    proxy: str, tmp_path: Path, clickhouse_url: str, database: str
) -> None:
    async with services(2, tmp_path, f"{clickhouse_url}/{database}") as two:
        async with traffic_through(proxy, two) as traffic:
            for port in two.ports:
                await two.restart(port)
                await two.takes(port)
        assert traffic.answers == {"202": traffic.sent}
        assert traffic.sent > RATE * (2 * (BEFORE_S + DELAY_S) + AFTER_S) * 0.9
        assert await two.appended() == traffic.sent, "none was sent again by the proxy, none is lost"
        assert await two.total() == traffic.sent


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_restart_of_the_only_one_refuses_and_loses_nothing(
    proxy: str, tmp_path: Path, clickhouse_url: str, database: str
) -> None:
    async with services(1, tmp_path, f"{clickhouse_url}/{database}") as one:
        async with traffic_through(proxy, one, again=True) as traffic:
            await one.restart(one.ports[0])
        assert traffic.answers["202"] == traffic.sent
        assert traffic.answers.keys() <= {"202", "502", "503"}, "by the proxy, while nobody is there"
        assert len(traffic.answers) > 1
        assert await one.appended() == traffic.sent, "what was refused had not been taken"
        assert await one.total() == traffic.sent

"""nginx and HAProxy in front of the service, each with as little configuration as it runs with."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.clickhouse import free_port
from tests.e2e.process import DEADLINE_S

NGINX: Final = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{service_port}; }}
    }}
}}
"""
NGINX_BELOW: Final = NGINX.replace(
    "location / {{ proxy_pass http://127.0.0.1:{service_port}; }}",
    "location /fans/ {{ proxy_pass http://127.0.0.1:{service_port}/; proxy_set_header Host $http_host; }}",
)
"""nginx that shows the service under a path, and takes that off."""
HAPROXY: Final = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend outside
    bind 127.0.0.1:{port}
    default_backend service
backend service
    server one 127.0.0.1:{service_port}
"""
PROXIES: Final = {
    "nginx": (NGINX, ("-e", "stderr", "-p", "{directory}", "-c", "{configuration}")),
    "haproxy": (HAPROXY, ("-db", "-f", "{configuration}")),
}


def _executable(name: str) -> str:
    """Return the proxy's path; without it the test is skipped by name, but in CI it fails."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {name} found")
        pytest.skip(f"no {name} found")
    return found


@asynccontextmanager
async def in_front_of(service_url: str, name: str, directory: Path, *, template: str = "") -> AsyncIterator[str]:
    """Run the proxy of this name in front of the service, by another template where one is given; yield its address."""
    executable = _executable(name)
    usual, arguments = PROXIES[name]
    port = free_port()
    configuration = directory / f"{name}.conf"
    configuration.write_text(
        (template or usual).format(directory=directory, port=port, service_port=service_url.rpartition(":")[2])
    )
    places = {"directory": directory, "configuration": configuration}
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            executable, *(argument.format(**places) for argument in arguments), stdout=output, stderr=output
        )
    try:
        await _until_it_listens(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_it_listens(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            assert process.returncode is None, log.read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return

"""docker/nginx/nginx.conf with a real nginx of this machine: other places and ports, else as it is."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.paths import ROOT
from tests.system.tools import run, tool

CONFIGURATION: Final = ROOT / "docker" / "nginx" / "nginx.conf"
_KNOWS_HTTP2_ON: Final = (1, 25, 1)
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def adapted(text: str, *, port: int, servers: list[int], secrets: Path, directory: Path) -> str:
    """Return the configuration for this machine: on 127.0.0.1, services at these ports, files in these places."""
    places = "".join(f"    {kind}_temp_path {directory}/{kind};\n" for kind in _TEMPORARY)
    below = "\n".join(f"        server 127.0.0.1:{server} max_fails=0;" for server in servers)
    changes = [
        ("pid /run/nginx.pid;", f"pid {directory}/nginx.pid;\ndaemon off;\nuser root;"),
        ("worker_connections 16384;", "worker_connections 512;"),
        ("http {\n", f"http {{\n{places}"),
        ("        server fanfinity:8080 max_fails=0;", below),
        ("listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("        listen [::]:8443 ssl;\n", ""),
        ("/run/secrets/", f"{secrets}/"),
    ]
    if _version() < _KNOWS_HTTP2_ON:
        changes += [("        http2 on;\n", ""), (f"127.0.0.1:{port} ssl;", f"127.0.0.1:{port} ssl http2;")]
    for before, after in changes:
        assert before in text, f"{before!r} is not in {CONFIGURATION}"
        text = text.replace(before, after)
    return text


def _version() -> tuple[int, ...]:
    said = subprocess.run([tool("nginx"), "-v"], capture_output=True, text=True, check=True, timeout=30).stderr
    found = re.search(r"nginx/([\d.]+)", said)
    assert found, said
    return tuple(int(part) for part in found[1].split("."))


@contextlib.contextmanager
def nginx(*, port: int, servers: list[int], secrets: Path, directory: Path) -> Iterator[str]:
    """Run it in front of these services until the block ends, and yield its address."""
    configuration = directory / "nginx.conf"
    text = CONFIGURATION.read_text(encoding="utf-8")
    configuration.write_text(adapted(text, port=port, servers=servers, secrets=secrets, directory=directory))
    arguments = (tool("nginx"), "-e", "stderr", "-p", directory, "-c", configuration)
    run(*arguments, "-t")
    with (directory / "nginx.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in arguments], stdout=log, stderr=log)
    try:
        _until_it_listens(port, process)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")

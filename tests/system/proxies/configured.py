"""The configurations in docker/ with real proxies of this machine: other places and ports, else as they are."""

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

NGINX: Final = ROOT / "docker" / "nginx" / "nginx.conf"
HAPROXY: Final = ROOT / "docker" / "haproxy" / "haproxy.cfg"
_KNOWS_HTTP2_ON: Final = (1, 25, 1)
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _changed(path: Path, changes: list[tuple[str, str]]) -> str:
    """Return a file's text with these parts in place of those; each has to be there."""
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text, f"{before!r} is not in {path}"
        text = text.replace(before, after)
    return text


def _nginx(port: int, service: int, secrets: Path, directory: Path) -> tuple[str | Path, ...]:
    places = "".join(f"    {kind}_temp_path {directory}/{kind};\n" for kind in _TEMPORARY)
    changes = [
        ("pid /run/nginx.pid;", f"pid {directory}/nginx.pid;\ndaemon off;\nuser root;"),
        ("worker_connections 16384;", "worker_connections 512;"),
        ("http {\n", f"http {{\n{places}"),
        ("        server fanfinity:8080 max_fails=0;", f"        server 127.0.0.1:{service} max_fails=0;"),
        ("listen 8443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("        listen [::]:8443 ssl;\n", ""),
        ("/run/secrets/", f"{secrets}/"),
    ]
    text = _changed(NGINX, changes)
    configuration = directory / "nginx.conf"
    configuration.write_text(for_older_nginx(text) if _version() < _KNOWS_HTTP2_ON else text, encoding="utf-8")
    return (tool("nginx"), "-e", "stderr", "-p", directory, "-c", configuration)


def for_older_nginx(text: str) -> str:
    """Return a configuration as nginx before 1.25.1 reads it, such as Debian 12's."""
    assert "        http2 on;\n" in text
    return re.sub(r"(listen .*) ssl;", r"\1 ssl http2;", text.replace("        http2 on;\n", ""))


def _haproxy(port: int, service: int, secrets: Path, directory: Path) -> tuple[str | Path, ...]:
    both = directory / "tls.pem"
    both.write_bytes((secrets / "tls_certificate").read_bytes() + (secrets / "tls_key").read_bytes())
    changes = [
        ("maxconn 65536", "maxconn 512"),
        ("bind :8443", f"bind 127.0.0.1:{port}"),
        ("/run/secrets/tls.pem", str(both)),
        ("server one fanfinity:8080", f"server one 127.0.0.1:{service}"),
    ]
    configuration = directory / "haproxy.cfg"
    configuration.write_text(_changed(HAPROXY, changes), encoding="utf-8")
    return (tool("haproxy"), "-db", "-f", configuration)


def _version() -> tuple[int, ...]:
    said = subprocess.run([tool("nginx"), "-v"], capture_output=True, text=True, check=True, timeout=30).stderr
    found = re.search(r"nginx/([\d.]+)", said)
    assert found, said
    return tuple(int(part) for part in found[1].split("."))


PROXIES: Final = {"nginx": (_nginx, "-t"), "haproxy": (_haproxy, "-c")}
"""For each proxy its command, and the option with which it checks its configuration only."""


@contextlib.contextmanager
def in_front_of(service: int, name: str, *, port: int, secrets: Path, directory: Path) -> Iterator[str]:
    """Run the proxy in front of the service at this port of 127.0.0.1 until the block ends, and yield its address."""
    command, only_check = PROXIES[name]
    arguments = [str(part) for part in command(port, service, secrets, directory)]
    run(*arguments, only_check)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
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
    raise AssertionError("the proxy does not listen")

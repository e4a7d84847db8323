"""A real ClickHouse over TCP for the tests, without Docker and without root.

The npm package ``@chdb/lib-linux-x64-gnu`` (see ``package.json``) holds the whole of ClickHouse as a library
whose ``clickhouse local`` can listen. It runs in a child process, so killing it is one signal:

>>> server = ClickHouseServer(tmp_path)   # doctest: +SKIP
>>> server.start(); server.kill(); server.start(); server.stop()   # doctest: +SKIP

``python tests/clickhouse.py DIRECTORY TCP_PORT HTTP_PORT`` runs one in the foreground.
"""

import contextlib
import ctypes
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LIBRARY = Path(__file__).parent / "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
_PR_SET_PDEATHSIG = 1
_LISTEN = (
    "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "
    "SELECT sleepEachRow(1) FROM system.numbers SETTINGS function_sleep_max_microseconds_per_block = 0, "
    "max_block_size = 1, max_execution_time = 0, use_query_cache = 0 FORMAT Null"
)


PORTS = range(20_000, 32_768)
"""Below those that Linux gives to outgoing connections: of these one could be taken before who wants it listens."""


def free_port() -> int:
    """Return a TCP port nobody listens on at this moment."""
    while True:
        port = secrets.choice(PORTS)  # each test process draws its own, whatever seeds the others
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ClickHouseServer:
    """One ClickHouse on 127.0.0.1 whose data and ports outlive its process."""

    def __init__(self, path: Path, *, start_timeout_s: float = 60) -> None:
        self.path = path
        self.tcp_port = free_port()
        self.http_port = free_port()
        self.options: tuple[str, ...] = ()  # of the server, from the next start on
        self.profile: tuple[str, ...] = ()  # what every client's settings are by default, as "--final=1"
        self.may_abort = False  # for a fault that can bring this form of the server to SIGABRT
        self.aborts = 0
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address without a database."""
        return f"clickhouse://default@127.0.0.1:{self.tcp_port}"

    @property
    def log(self) -> str:
        """What the processes wrote so far."""
        file = self.path / "output.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        """Start the process and return when it answers, or has ended as it ``may_abort``."""
        if not LIBRARY.exists():
            raise FileNotFoundError(f"{LIBRARY} is missing: run `npm ci` in {Path(__file__).parent}")
        assert self._process is None, "already started"
        self.path.mkdir(parents=True, exist_ok=True)
        # A killed process leaves its status file; the kernel has released the lock on it.
        with (self.path / "output.log").open("ab") as log:
            arguments = [sys.executable, __file__, str(self.path / "data"), str(self.tcp_port), str(self.http_port)]
            arguments += [*self.profile, "--", *self.options]
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.path, start_new_session=True
            )
        deadline = time.monotonic() + self._start_timeout_s
        while self.running and not self._answers():
            assert time.monotonic() < deadline, f"ClickHouse does not answer:\n{self.log}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Ask over HTTP: connections cut during the native handshake abort this form of the server."""
        try:
            with socket.create_connection(("127.0.0.1", self.http_port), timeout=1) as connection:
                connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
                return b"Ok." in connection.recv(4096)
        except OSError:
            return False

    @property
    def running(self) -> bool:
        """Whether the process lives; one that died by itself is a failure of the test, short of ``may_abort``."""
        if self._process is None:
            return False
        code = self._process.poll()
        if self.may_abort and code == -signal.SIGABRT:
            self._process = None
            self.aborts += 1
            return False
        assert code is None, f"ClickHouse died by itself with {code}:\n{self.log}"
        return True

    def stop(self) -> None:
        """End it in good order. Without effect where it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL. Without effect where it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it on the same data and ports."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        assert self.running
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, with_signal: signal.Signals) -> None:
        if not self.running:
            return
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(with_signal)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.returncode == -with_signal, f"ended with {process.returncode}:\n{self.log}"


def _run(path: str, tcp_port: str, http_port: str, *given: str) -> int:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    library = ctypes.CDLL(str(LIBRARY))
    profile, options = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else ((), given)
    arguments = ["clickhouse", "--path", path, "--query", _LISTEN, *profile, "--", "--listen_host=127.0.0.1"]
    arguments += [f"--tcp_port={tcp_port}", f"--http_port={http_port}", *options]
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*(a.encode() for a in arguments), None)
    code: int = library.chdb_query_cmdline(len(arguments), argv)
    return code


if __name__ == "__main__":
    sys.exit(_run(*sys.argv[1:]))

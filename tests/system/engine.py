"""A container engine of the tests' own: its data, its socket, and no change to the machine's network."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.system.tools import PLACES, run, tool

BASE: Final = "python:3.11-slim-bookworm"
"""The image that docker/Dockerfile begins with. No registry is asked: a Debian of the same release is made for it."""

_START_S: Final = 60
_BUILD_S: Final = 900
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


class Engine:
    """A dockerd that runs until :meth:`stop`. Containers use the network of the machine, on loopback."""

    def __init__(self, path: Path) -> None:
        """Start it, and return when it answers. Its socket and its data are in ``path``."""
        self._docker = tool("docker")
        self._path = path
        self._socket = path / "d.sock"
        arguments = ("--data-root", path / "data", "--exec-root", path / "exec", "-H", f"unix://{self._socket}")
        # Without a bridge of its own and without rules, because the machine may have an engine already.
        network = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false")
        with (path / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [tool("dockerd"), *map(str, arguments), "-p", str(path / "pid"), *network],
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": PLACES},
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, (path / "log").read_text()
            assert time.monotonic() < deadline, (path / "log").read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        command = [self._docker, "-H", f"unix://{self._socket}", "version"]
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

    @property
    def environ(self) -> dict[str, str]:
        """Environment in which other programs find it."""
        return os.environ | {"DOCKER_HOST": f"unix://{self._socket}", "DOCKER_BUILDKIT": "0", "PATH": PLACES}

    def __call__(self, *arguments: str | Path, timeout_s: float = 60) -> str:
        """Return what ``docker`` printed, without the last end of a line."""
        return run(self._docker, *arguments, timeout_s=timeout_s, env=self.environ).strip()

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of an image or a container."""
        [found] = msgspec.json.decode(self("inspect", name))
        return dict(found)

    def build(self, target: str, root: Path, **arguments: str) -> str:
        """Build one target of docker/Dockerfile, and return the image's name."""
        name = f"fanfinity:{target}"
        given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        options = ("--network", "host", "--file", root / "docker" / "Dockerfile", "--target", target, "--tag", name)
        self("build", "--quiet", *options, *given, root, timeout_s=_BUILD_S)
        return name

    def import_base(self, archive: Path) -> None:
        """Make the image :data:`BASE` of a file system's archive."""
        trusted = (f"ENV PIP_CERT={_CERTIFICATES}", 'CMD ["python3"]')
        self("import", *(part for change in trusted for part in ("-c", change)), archive, BASE, timeout_s=300)

    @contextlib.contextmanager
    def container(self, name: str, image: str, *command: str, options: tuple[str, ...] = ()) -> Iterator["Container"]:
        """Run a container until the block ends; its volumes without a name go with it."""
        self("run", "--detach", "--name", name, "--network", "host", *options, image, *command)
        try:
            yield Container(self, name)
        finally:
            self("rm", "--force", "--volumes", name)

    def stop(self) -> None:
        """End it, and all that it started."""
        for name in self("ps", "--all", "--quiet").split():
            self("rm", "--force", "--volumes", name)
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        for left in (self._path / "exec" / "netns").glob(
            "*"
        ):  # of the machine's network, which the engine leaves mounted
            run("umount", left)
        shutil.rmtree(self._path / "data")


class Container:
    """A container that runs, or has ended."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    @property
    def health(self) -> str:
        """``starting``, ``healthy`` or ``unhealthy``."""
        return str(self._engine.inspect(self.name)["State"]["Health"]["Status"])

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        command = [self._engine._docker, "logs", self.name]
        return subprocess.run(command, env=self._engine.environ, capture_output=True, text=True, timeout=30).stderr

    def until_health(self, wanted: str, *, within_s: float = 60) -> float:
        """Wait until the health check says so, and return the seconds that took."""
        began = time.monotonic()
        while self.health != wanted:
            assert time.monotonic() - began < within_s, f"{self.health}, not {wanted}:\n{self.log}"
            time.sleep(0.1)
        return time.monotonic() - began

    def stop(self, *, timeout_s: int = 10) -> int:
        """End it as ``docker stop`` does, and return its exit code."""
        self._engine("stop", "--time", str(timeout_s), self.name)
        return int(self._engine.inspect(self.name)["State"]["ExitCode"])

    def start(self) -> None:
        """Start it again, with the volume that it has."""
        self._engine("start", self.name)

    def send(self, signal_name: str) -> None:
        """Send a signal to its process."""
        self._engine("kill", "--signal", signal_name, self.name)


def make_base(archive: Path, path: Path) -> None:
    """Write an archive of a small Debian with Python and this machine's authorities, made in ``path`` in a minute."""
    root = path / "root"
    packages = "--include=python3,python3-venv,ca-certificates"
    run(
        tool("debootstrap"),
        "--variant=minbase",
        packages,
        "bookworm",
        root,
        timeout_s=600,
        env=os.environ | {"PATH": PLACES},
    )
    (root / "usr" / "bin" / "python").symlink_to("python3")
    if _CERTIFICATES.exists():
        shutil.copyfile(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))
    for cached in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / cached)
        (root / cached).mkdir()
    new = archive.with_suffix(".new")
    run("tar", "-C", root, "-cf", new, ".", timeout_s=300)
    new.replace(archive)
    shutil.rmtree(root)

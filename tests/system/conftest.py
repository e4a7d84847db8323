"""What these tests share: an engine, and the images that it builds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from app.observability.version import PACKAGE
from tests.paths import ROOT
from tests.system.engine import BASE, Engine, make_base
from tests.system.tools import missing, run, tool

COMMIT = "0123456789ab"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Engine]:
    """A container engine of our own with an image to begin from. The image is kept in pytest's cache."""
    if sys.platform != "linux" or os.geteuid() != 0:
        missing("a container engine of our own needs root on Linux")
    tool("dockerd")
    assert pytestconfig.cache is not None
    archive = pytestconfig.cache.mkdir("system") / "base.tar"
    path = tmp_path_factory.mktemp("engine")
    try:
        if not archive.exists():
            make_base(archive, path)
        engine = Engine(path)
    except AssertionError as error:
        missing(f"no container engine can be had: {error}")
    try:
        engine.import_base(archive)
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def base_bytes(engine: Engine) -> int:
    """Size of what the images begin from."""
    return int(engine.inspect(BASE)["Size"])


@pytest.fixture(scope="session")
def slim(engine: Engine) -> str:
    """The image without the embedded engine."""
    return engine.build("slim", ROOT, COMMIT=COMMIT, VERSION=version(PACKAGE))


@pytest.fixture(scope="session")
def full(engine: Engine, slim: str) -> str:
    """The image with it, built after the other, because it shares most layers."""
    assert slim
    return engine.build("full", ROOT, COMMIT=COMMIT, VERSION=version(PACKAGE))


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that docker/secrets.sh makes, from a copy of it."""
    tool("openssl")
    script = tmp_path_factory.mktemp("docker") / "secrets.sh"
    script.write_bytes((ROOT / "docker" / "secrets.sh").read_bytes())
    run("sh", script)
    made = {path: path.read_bytes() for path in (script.parent / "secrets").iterdir()}
    assert len(made) == 5
    subprocess.run(["sh", script], check=True, timeout=60)
    assert {path: path.read_bytes() for path in (script.parent / "secrets").iterdir()} == made, "made anew"
    return script.parent / "secrets"

"""The pod of the manifests, run by the engine: its user, its rights, its volume, its files, its probes, its end."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clickhouse import ClickHouseServer, free_port
from tests.paths import ROOT
from tests.system.asking import ask, needs_the_address_in_a_file, send, until_ready, until_stored
from tests.system.engine import Engine
from tests.system.tools import run, tool


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, Any]:
    """The pod as kustomize makes it, with files of a secret beside the manifests."""
    copy = tmp_path / "kubernetes"
    copy.mkdir()
    for path in (ROOT / "docker" / "kubernetes").glob("*.yaml"):
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "clickhouse_url").write_text("clickhouse://127.0.0.1:1/fanfinity")
    (copy / "api_keys").write_text("")
    made = yaml.safe_load_all(run(tool("kubectl"), "kustomize", copy))
    [found] = [one for one in made if one["kind"] == "StatefulSet"]
    return dict(found["spec"]["template"]["spec"])


def as_options(pod: dict[str, Any], volume: Path, secret: Path) -> tuple[str, ...]:
    """What ``docker run`` takes for the pod's rights, its volume and its secret."""
    [container] = pod["containers"]
    rights, user = container["securityContext"], pod["securityContext"]
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    return (
        "--read-only",
        *("--security-opt", "no-new-privileges"),
        *(part for name in rights["capabilities"]["drop"] for part in ("--cap-drop", name)),
        *("--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"])),
        *("--volume", f"{volume}:{mounts['data']}"),
        *("--volume", f"{secret}:{mounts['secret']}:ro"),
        *(part for one in container["env"] for part in ("--env", f"{one['name']}={one['value']}")),
    )


def test_the_pod_starts_stores_answers_its_probes_and_drains(
    engine: Engine, slim: str, pod: dict[str, Any], own_clickhouse: ClickHouseServer, database: str, tmp_path: Path
) -> None:
    volume, secret = tmp_path / "volume", tmp_path / "secret"
    group = pod["securityContext"]["fsGroup"]
    for directory, mode in ((volume, 0o2775), (secret, 0o755)):  # as a volume is that fsGroup was applied to
        directory.mkdir()
        os.chown(directory, 0, group)
        directory.chmod(mode)
    (volume / "lost+found").mkdir(0o700)
    made = json.loads(
        run(sys.executable, "-m", "app", "keys", "new", "feed", "--scopes", "ingest+read", "--json", cwd=ROOT)
    )
    key = made["key"]
    for name, text in (("clickhouse_url", f"{own_clickhouse.url}/{database}"), ("api_keys", made["line"])):
        (secret / name).write_text(text)
        os.chown(secret / name, 0, group)
        (secret / name).chmod(pod["volumes"][0]["secret"]["defaultMode"])
    port = free_port()
    settings = {"FANFINITY_HOST": "127.0.0.1", "FANFINITY_PORT": str(port), "FANFINITY_MONITOR": ""}
    options = as_options(pod, volume, secret)
    needs_the_address_in_a_file()
    options += tuple(part for item in settings.items() for part in ("--env", "=".join(item)))
    with engine.container("pod", slim, options=options) as container:
        until_ready(port)
        [described] = pod["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert ask(port, "GET", described[probe]["httpGet"]["path"])[0] == 200, probe
        assert ask(port, "POST", "/api/events", {"matchId": "derby", "eventType": "cheer"})[0] == 401
        send(port, 500, key=key)
        until_stored(port, 500, key=key)
        assert (volume / "fanfinity").stat().st_mode & 0o777 == 0o700
        assert container.stop(timeout_s=pod["terminationGracePeriodSeconds"]) == 0
        assert '"drained": true' in container.log

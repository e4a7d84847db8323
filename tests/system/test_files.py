"""What is written for other programs is read by them: manifests, workflows, the Dockerfile, the composition."""

import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from app.config import settings
from app.observability.version import PACKAGE
from tests.paths import ROOT
from tests.system.tools import PLACES, missing, run, tool

DOCKER: Final = ROOT / "docker"
KUBERNETES: Final = DOCKER / "kubernetes"
KUBERNETES_VERSION: Final = "v1.34.1"
MANIFESTS: Final = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")


def test_the_workflows_are_what_github_reads() -> None:
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert len(workflows) == 2
    run(tool("actionlint"), f"-shellcheck={tool('shellcheck')}", *workflows)


def test_the_dockerfile_keeps_hadolints_rules() -> None:
    run(tool("hadolint"), "--failure-threshold", "style", DOCKER / "Dockerfile")


def test_scripts_keep_shellchecks_rules() -> None:
    run(tool("shellcheck"), DOCKER / "secrets.sh", ROOT / "tests" / "system" / "install", ROOT / ".ci" / "run")


def test_the_dockerfile_has_the_packages_version_where_none_is_given() -> None:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE)) == {version(PACKAGE)}


@pytest.mark.parametrize("name", ["build", "slim", "full"])
def test_images_have_the_versions_that_are_tested(name: str) -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^[a-z][^ ]*==[^ ]+", path.read_text(encoding="utf-8"), re.MULTILINE))

    locked = pins(DOCKER / "locks" / f"{name}.lock")
    assert locked
    assert locked - pins(ROOT / "requirements.lock") == set()
    assert any(pin.startswith("chdb==") for pin in locked) == (name == "full")


def _composition(tmp_path: Path) -> dict[str, Any]:
    """The composition as Compose reads it. Its first version does not know the key of the project's name."""
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    copy = tmp_path / "compose.yaml"
    copy.write_text(re.sub(r"^name: .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    return dict(yaml.safe_load(run(tool("docker-compose"), "-f", copy, "config")))


def test_the_composition_publishes_on_loopback_only_and_mounts_what_is_there(tmp_path: Path) -> None:
    services: dict[str, Any] = _composition(tmp_path)["services"]
    assert set(services) == {"fanfinity", "clickhouse", "nginx", "prometheus", "grafana"}
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 3
    hosts = {port.split(":")[0] if isinstance(port, str) else port.get("host_ip") for port in published}
    assert hosts == {"127.0.0.1"}
    written = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    mounted = [volume for service in written["services"].values() for volume in service.get("volumes", ())]
    files = [DOCKER / volume.split(":")[0] for volume in mounted if volume.startswith(".")]
    assert len(files) == 4
    assert [file for file in files if not file.exists()] == []


def test_prometheus_reads_its_configuration() -> None:
    run(tool("promtool"), "check", "config", DOCKER / "prometheus" / "prometheus.yml")


def _variables() -> set[str]:
    return {setting.variable for setting in settings()}


def test_the_manifests_and_the_composition_set_what_the_service_reads(tmp_path: Path) -> None:
    [pod] = [one for one in _manifests() if one["kind"] == "StatefulSet"]
    names = {one["name"] for one in pod["spec"]["template"]["spec"]["containers"][0]["env"]}
    names |= set(_composition(tmp_path)["services"]["fanfinity"]["environment"])
    assert {name.removesuffix("_FILE") for name in names - _variables()} - _variables() == set()


def _manifests() -> list[dict[str, Any]]:
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strict JSON schemas of the kinds in our manifests, made from Kubernetes' own description of its API."""
    environ = os.environ | {"PATH": PLACES, "GOFLAGS": "-mod=mod"}
    directory = tmp_path_factory.mktemp("schemas")
    try:
        said = run(
            tool("go"),
            "mod",
            "download",
            "-json",
            f"k8s.io/kubernetes@{KUBERNETES_VERSION}",
            env=environ,
            cwd=directory,
            timeout_s=300,
        )
    except AssertionError as error:
        missing(f"the description of Kubernetes' API cannot be had: {error}")
    described = Path(msgspec.json.decode(said)["Dir"]) / "api" / "openapi-spec" / "swagger.json"
    definitions: dict[str, Any] = msgspec.json.decode(described.read_bytes())["definitions"]
    for definition in definitions.values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
    either = {"anyOf": [{"type": "string"}, {"type": "number"}]}
    definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = either
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = either
    kinds = {one["kind"] for one in _manifests()}
    for name, definition in definitions.items():
        for known in definition.get("x-kubernetes-group-version-kind", ()):
            if known["kind"] in kinds:
                group = f"{known['group'].partition('.')[0]}-" if known["group"] else ""
                file = directory / f"{known['kind'].lower()}-{group}{known['version']}.json"
                file.write_bytes(msgspec.json.encode({"$ref": f"#/definitions/{name}", "definitions": definitions}))
    return directory


def test_kubernetes_takes_the_manifests(schemas: Path, tmp_path: Path) -> None:
    where = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = (tool("kubeconform"), "-strict", "-summary", "-schema-location", where)
    assert f"Valid: {len(_manifests())}, Invalid: 0, Errors: 0, Skipped: 0" in run(*command, *MANIFESTS)
    wrong = tmp_path / "wrong.yaml"
    text = (KUBERNETES / "statefulset.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("enableServiceLinks", "enableServiceLink"), encoding="utf-8")
    with pytest.raises(AssertionError, match="enableServiceLink"):
        run(*command, wrong)


def test_the_kustomization_names_every_manifest() -> None:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]
    [image] = kustomization["images"]
    assert image["newTag"] == f"{version(PACKAGE)}-slim"

"""Metrics, and whatever names them: `docs/METRICS.md`, the alerts with their runbook, the dashboard."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.metrics import all_series, declared
from tests.paths import ROOT

METRICS = ROOT / "docs" / "METRICS.md"
RUNBOOK = ROOT / "docs" / "RUNBOOK.md"
ALERTS = ROOT / "docker" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "fanfinity.json"

FORBIDDEN_LABELS = {"match", "match_id", "player", "player_id", "event", "event_id", "team", "team_id"}
UNITS = ("seconds", "bytes", "records", "rows")
OF_PROMETHEUS = {"up", "scrape_duration_seconds"}
"""Series that Prometheus itself makes for each target."""

SCHEMA_VERSION = 39
"""The version of dashboards that Grafana 11 writes; others are migrated when they are read."""

_NAME = re.compile(r"\b(?:fanfinity|http|process)_[a-z_]+\b|\bup\b|\bscrape_[a-z_]+\b")


def documented() -> Iterator[tuple[str, str, frozenset[str], str, str]]:
    """Yield name, type, labels, unit and meaning of each row of the table."""
    _, _, section = METRICS.read_text("utf-8").partition("\n## All metrics\n")
    for line in section.splitlines():
        if line.startswith("| `"):
            name, type_, labels, unit, meaning = (cell.strip() for cell in line.strip("|").split(" | "))
            yield name.strip("`"), type_, frozenset(re.findall(r"`(\w+)`", labels)), unit, meaning


def test_the_table_has_every_metric_once_and_as_it_is() -> None:
    rows = [(name, type_, labels, meaning) for name, type_, labels, _, meaning in documented()]
    assert sorted(rows) == sorted((one.name, one.type, one.labels, one.help) for one in declared().values())


def test_units_are_those_of_the_names() -> None:
    for name, _, _, unit, _ in documented():
        assert unit
        named = [one for one in UNITS if name.removesuffix("_total").endswith(f"_{one}")]
        assert named in ([], [unit]), f"{name} is in {unit}"


def test_no_label_names_who_or_what_an_event_is_about() -> None:
    assert {label for metric in declared().values() for label in metric.labels} & FORBIDDEN_LABELS == set()


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _alerts() -> list[dict[str, Any]]:
    return [rule for rule in _rules() if "alert" in rule]


def _anchor(heading: str) -> str:
    """Return the anchor of a heading, as pages of repositories have it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _sections() -> dict[str, str]:
    """Return the text of each section of the runbook, by its heading."""
    parts = re.split(r"^## (.+)$", RUNBOOK.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    alerts = [rule["alert"] for rule in _alerts()]
    assert len(alerts) >= 20
    assert len(set(alerts)) == len(alerts)
    of_alerts = [name for name in _sections() if re.fullmatch(r"Fanfinity\w+", name)]
    assert sorted(of_alerts) == sorted(alerts)


@pytest.mark.parametrize("rule", _alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook_url"} <= rule["annotations"].keys()
    path, _, anchor = rule["annotations"]["runbook_url"].rpartition("#")
    assert path.endswith("docs/RUNBOOK.md")
    assert anchor == _anchor(rule["alert"])
    page = _sections()[rule["alert"]]
    assert all(f"**{part}**" in page for part in ("Means", "Look at", "Do")), f"{rule['alert']}: a part is missing"


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_only_for_what_is_there(rule: dict[str, Any]) -> None:
    records = {one["record"] for one in _rules() if "record" in one}
    _check_names(rule["expr"], records)


def _check_names(query: str, records: set[str]) -> None:
    query = re.sub(r'"[^"]*"', '""', query)
    names = set(_NAME.findall(query))
    assert names or records & set(re.findall(r"[\w:]+", query)), f"{query!r} asks for nothing"
    assert names - all_series() - OF_PROMETHEUS == set()


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"]


def test_the_dashboard_has_the_form_that_grafana_reads() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    assert (dashboard["uid"], dashboard["schemaVersion"]) == ("fanfinity", SCHEMA_VERSION)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids) > 15
    taken = [cell for panel in dashboard["panels"] for cell in _cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken), "two panels lie one upon the other"


def _cells(at: dict[str, int]) -> Iterator[tuple[int, int]]:
    assert at["x"] + at["w"] <= 24
    yield from ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))


@pytest.mark.parametrize("panel", _panels(), ids=lambda panel: panel["title"])
def test_panels_ask_only_for_what_is_there(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    for target in panel["targets"]:
        _check_names(target["expr"], set())

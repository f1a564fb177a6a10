"""The alert rules and the dashboard use metrics that exist, with labels that these have; promtool checks the rest."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from offtake.telemetry.definitions import METRICS, Metric

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ADDED_BY_PROMETHEUS = {"job", "instance", "le"}
BY_LIBRARY = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}


def names(metric: Metric) -> set[str]:
    suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
    return {f"{metric.name}{suffix}" for suffix in suffixes}


KNOWN = {name: metric for metric in METRICS for name in names(metric)}


def alerts() -> dict[str, str]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (one["definition"] for one in dashboard()["templating"]["list"] if "definition" in one)


@pytest.mark.parametrize("expression", [*alerts().values(), *expressions()])
def test_an_expression_uses_metrics_and_labels_that_exist(expression: str) -> None:
    used = re.findall(r"\b((?:offtake|process)_\w+|up)\b(\{[^}]*\})?", expression)
    assert used
    labels: set[str] = set(ADDED_BY_PROMETHEUS)
    for name, matchers in used:
        assert name in KNOWN or name in BY_LIBRARY
        its_labels = {*KNOWN[name].labels, *ADDED_BY_PROMETHEUS} if name in KNOWN else ADDED_BY_PROMETHEUS
        labels |= its_labels
        assert set(re.findall(r'(\w+)\s*(?:=~|!=|=)\s*"', matchers)) <= its_labels
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    assert {one.strip() for group in grouped for one in group.split(",")} <= labels


def test_panels_do_not_overlap_and_have_what_grafana_needs() -> None:
    found = dashboard()
    assert found["uid"] == "offtake"
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_is_tested_by_promtool() -> None:
    tested = (Path(__file__).parent / "alerts_test.yml").read_text()
    assert [name for name in alerts() if name not in tested] == []
    named = re.findall(r"docs/([\w-]+\.md)(?:, section ([^,]+),)?", (DEPLOY / "prometheus" / "alerts.yml").read_text())
    pages = {page: (ROOT / "docs" / page).read_text() for page, _ in named}
    assert [one for one in named if f"\n## {one[1]}".rstrip("# \n") not in pages[one[0]]] == []

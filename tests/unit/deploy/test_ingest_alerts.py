"""The alerts and the dashboard of the ingester: their metrics exist, and each alert is explained."""

import json
import re
from pathlib import Path

import yaml

from noria.ingestion.segments.monitoring_server import METRICS

ROOT = Path(__file__).parents[3]
ALERTS = (ROOT / "deploy" / "ingest-alerts.yaml").read_text(encoding="utf-8")
DASHBOARD = (ROOT / "deploy" / "ingest-dashboard.json").read_text(encoding="utf-8")


def test_they_ask_for_metrics_that_exist() -> None:
    """The dashboard shows each metric but the positions, which are in `noria status`."""
    asked = {name.removesuffix("_bucket") for name in re.findall(r"noria_ingest_\w+", ALERTS + DASHBOARD)}
    assert set(METRICS) - {"noria_ingest_position"} == asked


def test_each_alert_is_explained() -> None:
    """docs/operations.md says of each alert what it means and what to do, and of no other."""
    rules = [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert {rule["alert"] for rule in rules} == set(re.findall(r"`(NoriaIngest\w+)`", page))
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules)


def test_the_panels_do_not_overlap() -> None:
    """There are eight panels, and no two have the same position."""
    panels = json.loads(DASHBOARD)["panels"]
    positions = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert 8 == len(panels) == len(positions) == len({panel["id"] for panel in panels})

"""Alerts and dashboard name metrics that the server has."""

import json
import re
from pathlib import Path

import yaml

from noria.serving.prometheus import Counter, Histogram, Metrics

FOLDER = Path(__file__).parents[3] / "deploy" / "monitoring"
DOCS = Path(__file__).parents[3] / "docs"


def names() -> dict[str, set[str]]:
    """What Prometheus reads, with the labels of each."""
    found: dict[str, set[str]] = {}
    for each in vars(Metrics()).values():
        if isinstance(each, Counter):
            found[each.name] = {*each.labels, "instance"}
        elif isinstance(each, Histogram):
            parts = {"_bucket": {"le"}, "_sum": set(), "_count": set()}
            found |= {each.name + part: {*each.labels, "instance"} | more for part, more in parts.items()}
    return found


def check(expression: str) -> None:
    metrics = re.findall(r"(?::tensorflow:serving:|noria_serving_)\w+", expression)
    assert metrics or "up{" in expression, expression
    for metric in metrics:
        assert metric in names(), metric
    for metric, selectors in re.findall(
        r"((?::tensorflow:serving:|noria_serving_)\w+)\{([^}]*)\}", expression
    ):
        assert set(re.findall(r"(\w+)=~?", selectors)) <= names()[metric], (metric, selectors)


def test_alerts_name_metrics() -> None:
    """Each alert asks for metrics and labels of the server, and says what to do."""
    (group,) = yaml.safe_load((FOLDER / "serving-alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        check(rule["expr"])
        assert {"summary", "description"} == set(rule["annotations"])


def test_the_dashboard_names_metrics() -> None:
    """Each panel asks for metrics and labels of the server."""
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) > len(dashboard["panels"]) > 5
    for expression in expressions:
        check(expression)


def test_every_metric_is_described() -> None:
    """docs/serving.md has each metric that is not TF Serving's."""
    text = (DOCS / "serving.md").read_text()
    own = [each.name for each in vars(Metrics()).values() if each.name.startswith("noria_")]
    assert [] == [name for name in own if f"`{name}`" not in text]

"""What the data gate saw, sorted and put in words: drift, features, anomalies, numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

from noria.pipeline.report import charts, distributions
from noria.pipeline.report.words import is_number, number, or_zero, percent, ranges


def drift_rows(drift: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The measures with their severity (value over threshold), the most severe first."""
    found = []
    for row in drift:
        value, threshold = row.get("value"), row.get("threshold")
        severity = value / threshold if is_number(value) and is_number(threshold) and threshold else None
        found.append(
            {
                "feature": str(row.get("feature")),
                "measure": str(row.get("measure")),
                "reference": str(row.get("reference")),
                "value": value,
                "threshold": threshold,
                "drifted": bool(row.get("drifted")),
                "bins": str(row.get("bins") or ""),
                "severity": severity,
                # The threshold stands at half of the bar, and no value is so large that the bar is full.
                "bar": severity / (1 + severity) if severity is not None and severity >= 0 else 0.0,
            }
        )
    # What was measured without a threshold cannot be severe: it stands last, by value.
    return sorted(found, key=lambda r: (not r["drifted"], -(r["severity"] or 0.0), -or_zero(r["value"])))


def cards(features: list[distributions.Feature], drift: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The features with their plots, the one that drifted most first."""
    worst: dict[str, dict[str, Any]] = {}
    for row in drift:
        if row["feature"] not in worst:
            worst[row["feature"]] = row
    found = []
    for feature in features:
        rows = []
        for key, name in (("mean", "mean"), ("missing", "missing"), ("unique", "distinct")):
            if any(key in known for known in feature.summary.values()):
                values = [feature.summary.get(series, {}).get(key) for series in distributions.SERIES]
                rows.append({"key": key, "name": name, "values": values})
        row = worst.get(feature.name)
        found.append(
            {
                "name": feature.name,
                "kind": feature.kind,
                "plot": charts.distribution(feature),
                "summary": rows,
                "here": "span" in feature.summary,
                "worst": row,
                "drifted": bool(row and row["drifted"]),
            }
        )
    return sorted(found, key=lambda c: (not c["drifted"], -((c["worst"] or {}).get("severity") or 0.0)))


def numbers(check: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The numbers of a check as pairs of a name and a text; nested ones, such as one per reference, too.

    >>> numbers({"rate": 0.25, "spans": [1, 2, 3], "references": {"previous span 4": {"change": -0.01}}})
    [('rate', '25.0 %'), ('spans', '1-3'), ('previous span 4', 'change −1.0 %')]
    """
    shares = ("rate", "unlabelled", "change")
    found = []
    for key, value in (check or {}).items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            if all(isinstance(inner, Mapping) for inner in value.values()):
                found += numbers(value)
            else:
                found.append((name, ", ".join(" ".join(pair) for pair in numbers(value))))
        elif key == "spans" and isinstance(value, list):
            found.append((name, ranges(value)))
        elif isinstance(value, list | tuple):
            found.append((name, ", ".join(number(item) for item in value)))
        elif value is not None:
            share = key in shares and is_number(value) and -1 <= value <= 1
            found.append((name, percent(value) if share else number(value)))
    return found


def anomalies(verdict: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """The anomalies, errors first."""
    found = [
        {key: str(line.get(key) or "") for key in ("feature", "severity", "description")}
        for line in (verdict or {}).get("anomalies") or []
    ]
    return sorted(found, key=lambda line: line["severity"] != "error")

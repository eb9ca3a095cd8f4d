"""All runs that have a report: their summaries (`.json` beside each page), and the index.

The index is made from the summaries only, so it can be rewritten at any time and shows the state at the end of
each run.
"""

import json
from pathlib import Path
from typing import Any

from noria.core import files

INDEX = "index.html"
FORMAT = 1


def summaries(reports: Path) -> list[dict[str, Any]]:
    """One summary per page, in the order in which the runs ended; `path` is the page.

    A page whose summary is missing or damaged is listed by its name and the time of its file.
    """
    found = []
    pages = set(reports.glob("*.html"))
    if files.home_of(reports) is not None:  # a page itself may not have been copied to this machine
        pages |= {path.with_suffix(".html") for path in reports.glob("*.json")}
    for page in pages:
        if page.name == INDEX:
            continue
        try:
            summary = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
            if not isinstance(summary, dict) or not isinstance(summary.get("written"), int | float):
                raise ValueError("not a summary")
        except (OSError, ValueError):
            summary = {"written": page.stat().st_mtime, "headline": page.stem}
        found.append({**summary, "path": page})
    return sorted(found, key=lambda summary: (summary["written"], summary["path"].name))


def write_index(reports: Path) -> Path:
    """Writes `index.html` over all reports of the folder, and returns it."""
    from noria.pipeline.report import charts, display_names, jinja

    runs = summaries(reports)
    points: dict[str, list[tuple[int, float | None, float | None, str]]] = {}
    judged = [t for t in runs if isinstance(t.get("span"), int) and t.get("kind") not in ("failed", "twin")]
    for metric in _metrics(judged):
        # A span with several runs is shown with its last one.
        by_span = {run["span"]: run for run in judged}
        points[metric] = [
            (
                span,
                _value(run, "challenger", metric),
                _value(run, "champion", metric),
                str(run.get("model")),
            )
            for span, run in sorted(by_span.items())
        ]
    plots = [
        charts.over_spans(metric, display_names.metric_name(metric), points[metric]) for metric in points
    ]
    content = jinja.render(
        "report_index.html.j2",
        project=next((run["project"] for run in reversed(runs) if run.get("project")), "Noria"),
        runs=runs[::-1],
        metrics=_metrics(judged),
        value=_value,
        plots=[plot for plot in plots if plot is not None],
        best=next((run for run in reversed(runs) if run.get("kind") == "published"), None),
    )
    files.write_text(reports / INDEX, content)
    return reports / INDEX


def _metrics(runs: list[dict[str, Any]]) -> list[str]:
    """The two metrics that are shown: the first ones of the verdicts that have a better direction."""
    from noria.pipeline.report import display_names

    found = [(run.get("metrics") or {}).get("challenger") or {} for run in runs]
    return display_names.judged_metrics(key for metrics in found for key in metrics)


def _value(run: dict[str, Any], who: str, metric: str) -> float | None:
    from noria.pipeline.report import words

    value = ((run.get("metrics") or {}).get(who) or {}).get(metric)
    return float(value) if words.is_number(value) else None

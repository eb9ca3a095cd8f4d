"""All turns that have a report: their summaries (`.json` beside each page), and the index.

The index is made of the summaries alone, so that it can be written again at any time and shows what was there
when each turn ended.
"""

import json
from pathlib import Path
from typing import Any

from noria.core import files

INDEX = "index.html"
FORMAT = 1


def summaries(reports: Path) -> list[dict[str, Any]]:
    """One summary per page, in the order in which the turns ended; `path` is the page.

    A page whose summary is missing or damaged is listed by its name and the time of its file.
    """
    found = []
    for page in reports.glob("*.html"):
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
    from noria.pipeline.report import charts, page, words

    turns = summaries(reports)
    points: dict[str, list[tuple[int, float | None, float | None, str]]] = {}
    judged = [t for t in turns if isinstance(t.get("span"), int) and t.get("kind") != "failed"]
    for metric in _metrics(judged):
        # A span that was turned twice (a killed run, a cold one by hand) is shown as it came out last.
        by_span = {turn["span"]: turn for turn in judged}
        points[metric] = [
            (
                span,
                _value(turn, "challenger", metric),
                _value(turn, "champion", metric),
                str(turn.get("model")),
            )
            for span, turn in sorted(by_span.items())
        ]
    plots = [charts.over_spans(metric, words.metric_name(metric), points[metric]) for metric in points]
    content = page.render(
        "report_index.html.j2",
        project=next((turn["project"] for turn in reversed(turns) if turn.get("project")), "Noria"),
        turns=turns[::-1],
        metrics=_metrics(judged),
        value=_value,
        plots=[plot for plot in plots if plot is not None],
        best=next((turn for turn in reversed(turns) if turn.get("kind") == "published"), None),
    )
    files.write_text(reports / INDEX, content)
    return reports / INDEX


def _metrics(turns: list[dict[str, Any]]) -> list[str]:
    """The two metrics that are shown: the first ones of the verdicts that have a better and a worse side."""
    from noria.pipeline.report import words

    found = [(turn.get("metrics") or {}).get("challenger") or {} for turn in turns]
    return words.judged_metrics(key for metrics in found for key in metrics)


def _value(turn: dict[str, Any], who: str, metric: str) -> float | None:
    from noria.pipeline.report import words

    value = ((turn.get("metrics") or {}).get(who) or {}).get(metric)
    return float(value) if words.is_number(value) else None

"""Runs and versions as rows: the same values in the tables for people and the JSON for machines."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from noria.pipeline.cli import console
from noria.pipeline.report.display_names import SILENT, judged_metrics, metric_name
from noria.pipeline.report.words import ranges
from noria.pipeline.runs import lineage
from noria.pipeline.runs.overview import version_row
from noria.stores.registry import RunRecord, Version

_COLOURS = {
    "ok": "green",
    "drifted": "yellow",
    "broken": "red",
    "thin": "yellow",
    "blessed": "green",
    "rejected": "yellow",
    "published": "bold green",
    "rolled_back": "red",
    "expired": "dim",
    "retired": "dim",
    "twin": "cyan",
}
_SILENT = ("Ingest", "Run", *SILENT)


def run_row(run: RunRecord) -> dict[str, Any]:
    """A run as one JSON object: the fields of `RunRecord`."""
    return dataclasses.asdict(run)


def print_champion(version: Version, how: str, as_json: bool) -> int:
    """The version that serves after a person's command; `how` names the command in the past tense."""
    if as_json:
        console.emit({"champion": version.version, "version": version_row(version)})
    else:
        path = escape(str(version.model_dir))
        console.out().print(f"[green]✓[/] {how}: version {version.version} serves from {path}")
    return console.OK


def print_rollout(out: Console, rollout: Mapping[str, Any]) -> None:
    """A rollout's state in one line, and in a second one why it has ended."""
    steps = f", step {rollout['step']} of {len(rollout['steps'])}" if rollout["mode"] == "canary" else ""
    out.print(
        f"version [bold]{rollout['version']}[/] beside {rollout['champion']}: {rollout['mode']}, "
        f"[bold]{rollout['status']}[/]{steps}, {rollout['share']:.0%} of the keys",
        soft_wrap=True,
    )
    if rollout["reason"]:
        reason, by = escape(rollout["reason"]), escape(rollout["by"])
        out.print(f"  [dim]reason[/] {reason} ({by})", soft_wrap=True)


def runs_table(runs: Sequence[RunRecord]) -> Table:
    """Span, verdicts, and the metrics of champion and challenger on the same rows."""
    names = metric_names(run.metrics for run in runs)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("span", justify="right")
    table.add_column("data")
    table.add_column("run")
    for name in names:
        table.add_column(f"{metric_name(name)}\nchampion", justify="right")
        table.add_column("\nchallenger", justify="right")
    table.add_column("model")
    table.add_column("version", justify="right")
    table.add_column("seconds", justify="right")
    for run in runs:
        champion, challenger = run.metrics.get("champion"), run.metrics.get("challenger")
        figures = [cell for name in names for cell in (_figure(champion, name), _figure(challenger, name))]
        table.add_row(
            str(run.span),
            coloured(run.data_verdict),
            run.mode or "–",
            *figures,
            coloured(run.model_verdict),
            "–" if run.version is None else str(run.version),
            f"{sum(run.seconds.values()):.1f}" if run.seconds else "–",
        )
    return table


def print_decisions(out: Console, runs: Sequence[RunRecord]) -> None:
    """One line for each decision of a person on a span, and for each version that is blessed but not published."""
    for run in runs:
        if run.unquarantined is not None:
            out.print(f"span {run.span} was {escape(run.unquarantined)}", soft_wrap=True)
        if run.withheld is not None:
            text = f"version {run.version} of span {run.span} is not published: it {run.withheld}"
            out.print(escape(text), soft_wrap=True)


def print_stream(out: Console, stream: Mapping[str, Any]) -> None:
    """The stream's positions and lag as its ingester stored them last."""
    counts = stream["counts"]
    fields = [
        f"{counts.get(name, 0):,} {label}" for name, label in (("events", "events"), ("dead", "dead letters"))
    ]
    fields.append(f"{stream['segments']:,} segments wait for their spans")
    if stream["losses"]:
        fields.append(f"[red]{len(stream['losses'])} accepted losses[/]")
    out.print(f"stream {escape(stream['source'])}: {', '.join(fields)}", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("partition", "position", "end", "lag"):
        table.add_column(title, justify="right")
    table.add_column("event time (UTC)")
    for each in stream["partitions"]:
        time = each["event_time"]
        moment = None if time is None else datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
        table.add_row(
            str(each["partition"]),
            f"{each['position']:,}",
            "–" if each["end"] is None else f"{each['end']:,}",
            f"{each['lag']:,}",
            "–" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}",
        )
    out.print(table)


def seconds_table(runs: Sequence[RunRecord]) -> Table | None:
    """Seconds of each stage, a row for each run; None where nothing was measured."""
    stages = [name for name in dict.fromkeys(s for run in runs for s in run.seconds) if name not in _SILENT]
    if not stages:
        return None
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title="seconds per stage", title_justify="left", title_style=""
    )
    table.add_column("span", justify="right")
    for stage in stages:
        table.add_column(_two_lines(stage), justify="right")
    for run in runs:
        cells = [f"{run.seconds[stage]:.1f}" if stage in run.seconds else "–" for stage in stages]
        table.add_row(str(run.span), *cells)
    return table


def versions_table(versions: Sequence[Version]) -> Table:
    """Versions, their states, lineage and metrics."""
    names = metric_names(version.metrics for version in versions)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("version", justify="right")
    table.add_column("state")
    table.add_column("run")
    table.add_column("parent", justify="right")
    table.add_column("spans")
    for name in names:
        table.add_column(metric_name(name), justify="right")
    table.add_column("transform")
    table.add_column("code")
    table.add_column("made")
    for version in versions:
        table.add_row(
            str(version.version),
            coloured(version.state),
            version.mode,
            "–" if version.parent is None else str(version.parent),
            ranges(version.spans),
            *(_figure(version.metrics.get("challenger"), name) for name in names),
            version.transform or "–",
            lineage.short(version.code_digest) if version.code_digest else "–",
            version.created[:16].replace("T", " "),
        )
    return table


def metric_names(metrics: Iterable[Mapping[str, Any]]) -> list[str]:
    """The two metrics to show: the most informative ones that any of them has."""
    found = {name for each in metrics for side in each.values() if isinstance(side, dict) for name in side}
    return judged_metrics(found)


def coloured(word: str | None) -> Text:
    """A verdict or a state in its colour."""
    return Text((word or "–").replace("_", " "), _COLOURS.get(word or "", ""))


def _figure(side: Any, name: str) -> str:
    value = side.get(name) if isinstance(side, dict) else None
    return "–" if value is None else f"{value:.4f}"


def _two_lines(stage: str) -> str:
    """A node's name over two lines, split at its last capital: ten columns must fit a terminal of 100."""
    at = max((index for index, letter in enumerate(stage) if index and letter.isupper()), default=0)
    return f"{stage[:at]}\n{stage[at:]}" if at else f"\n{stage}"

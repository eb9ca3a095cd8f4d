"""Progress while the pipeline runs: stage, span, rows, seconds. The output of libraries goes to a file.

On a terminal the stages of the current run are a live table; elsewhere (CI, a log) each ends as a line.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from noria.pipeline.report.display_names import SILENT
from noria.pipeline.report.words import ranges

# The values of a journal record that are shown, in this order.
_SHOWN = (
    "mode",
    "rows",
    "step",
    "steps",
    "loss",
    "transform",
    "verdict",
    "champion",
    "blessed",
    "version",
    "state",
)


class Output:
    """The terminal's streams, kept while file descriptors 1 and 2 write to a log file.

    TensorFlow, Beam and gRPC write to the descriptors, not to `sys.stderr`, so the descriptors are redirected.
    """

    def __init__(self, log: Path):
        self.log = log
        self.terminal: TextIO = sys.stderr

    def to(self, log: Path) -> None:
        """Redirects to another file from now on."""
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        os.close(opened)
        self.log = log


@contextlib.contextmanager
def noise_to(log: Path) -> Iterator[Output]:
    """Redirects the libraries' standard output and error to a file inside the block."""
    output = Output(log)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") as terminal:
        output.terminal = terminal
        try:
            output.to(log)
            yield output
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError):  # a full disk must not prevent the output below
                    stream.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


class Progress:
    """Shows journal records; give `listen` to the pipeline.

    Args:
      console: the output; a terminal gets a live view, anything else plain lines.
      output: the redirected streams, whose file changes with each run; None for none.
    """

    def __init__(self, console: Console, output: Output | None = None):
        self.console = console
        self.output = output
        self.broken: list[int] = []
        self._live: Live | None = None
        self._span: int | None = None
        self._mode = ""
        self._since = 0.0
        self._stages: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live = Live(
                console=self.console,
                get_renderable=self._draw,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def listen(self, record: dict[str, Any]) -> None:
        """Shows one journal record."""
        name, event = record.get("stage", ""), record.get("event", "")
        if name == "Run":
            self._run(event, record)
            return
        if name == "Recover":
            self._print(
                f"[yellow]finished the work of a killed run:[/] {escape(str(record.get('recovered')))}"
            )
            return
        if name == "Updates":
            self._print(f"[yellow]{escape(str(record.get('problem')))}[/]")
            return
        if record.get("changed"):
            self._print(f"[yellow]note:[/] {escape(str(record['changed']))}")
            return
        if name == "Retire":
            self._print(f"retired spans {ranges(record['spans'])}: {record['rows']:,} rows")
            return
        stage = self._stages.setdefault(name, {"since": time.monotonic()})
        if event == "start":
            stage["since"] = time.monotonic()
        stage.update({key: value for key, value in record.items() if key != "time"})
        if record.get("mode"):
            self._mode = str(record["mode"])
        if record.get("verdict") == "broken" and self._span is not None and event == "end":
            self.broken.append(self._span)
        if name == "Ingest" and event == "end":
            self._stages.pop(name)
            self._print(_ingested(record))
        elif self._live is None and event in ("end", "failed") and name not in SILENT:
            self._print(f"  span {self._span}  {_line(name, stage)}")

    def _run(self, event: str, record: dict[str, Any]) -> None:
        if event == "start":
            self._stages.clear()
            self._span, self._mode, self._since = record.get("span"), "", time.monotonic()
            log = record.get("log")
            if log and self.output is not None:
                self.output.to(Path(log))
            if self._live is None:
                self._print(f"span {self._span}: log in {escape(str(log))}")
        elif event == "end":
            self._stages.clear()
            self._print(_trained(record.get("run"), time.monotonic() - self._since))
            self._span = None
        elif event == "failed":
            self._stages.clear()
            self._print(f"[red]✗[/] span {self._span}  failed: {escape(str(record.get('report')))}")
            self._span = None

    def _print(self, markup: str) -> None:
        self.console.print(markup, highlight=False, soft_wrap=True)

    def _draw(self) -> Group:
        if self._span is None:
            ingest = self._stages.get("Ingest")
            what = "looking for new spans"
            if ingest is not None:
                at = f": span {ingest['span']}, {ingest['rows']:,} rows" if "span" in ingest else ""
                what = f"reading the events{at}  {_seconds(ingest['since'])}"
            return Group(Spinner("dots", Text(f" {what}")))
        head = Text.assemble(
            (f"span {self._span}", "bold"), f"  {self._mode}", (f"  {_seconds(self._since)}", "dim")
        )
        table = Table.grid(padding=(0, 2))
        for name, stage in list(self._stages.items()):  # another thread may add stages
            if name in SILENT:
                continue
            ended, failed = stage.get("event") == "end", stage.get("event") == "failed"
            mark: Any = Text("✓", "green") if ended else Text("✗", "red") if failed else Spinner("dots")
            seconds = f"{stage['seconds']:.1f} s" if "seconds" in stage else _seconds(stage["since"])
            table.add_row(mark, name, Text(seconds, "dim", justify="right"), Text(_numbers(stage), "dim"))
        if not self._stages:
            table.add_row(Spinner("dots"), "loading TensorFlow and TFX", "", "")
        return Group(head, table)


def _seconds(since: float) -> str:
    return f"{time.monotonic() - since:.1f} s"


def _numbers(stage: dict[str, Any]) -> str:
    parts = []
    for name in _SHOWN:
        value = stage.get(name)
        if value is None or value == "":
            continue
        if name == "rows" and isinstance(value, int):
            parts.append(f"{value:,} rows")
        elif isinstance(value, float):
            parts.append(f"{name} {value:.4f}")
        elif name in ("mode", "verdict", "transform", "state"):
            parts.append(str(value))
        else:
            parts.append(f"{name} {value}")
    if stage.get("verdict") in ("drifted", "broken", "thin") and stage.get("reasons"):
        parts.append(str(stage["reasons"][0]))
    if stage.get("path") == "beam":
        parts.append("on Beam")
    return ", ".join(parts)


def _line(name: str, stage: dict[str, Any]) -> str:
    end = "failed  " if stage.get("event") == "failed" else ""
    return escape(f"{name:<17}{stage.get('seconds', 0.0):>7.1f} s  {end}{_numbers(stage)}".rstrip())


def _ingested(record: dict[str, Any]) -> str:
    parts = []
    for key, what in (("spans", "new spans"), ("late", "spans with late rows")):
        if record.get(key):
            parts.append(f"{len(record[key])} {what}")
    for key, what in (("rows", "rows"), ("unlabelled", "without a label"), ("duplicates", "known already")):
        if record.get(key):
            parts.append(f"{record[key]:,} {what}")
    lines = [
        f"[green]✓[/] ingested: {', '.join(parts) or 'nothing new'}  [dim]{record.get('seconds', 0):.1f} s[/]"
    ]
    if record.get("dead_letters"):
        file = escape(str(record.get("dead_letter_file")))
        lines.append(f"  [yellow]{record['dead_letters']:,} rows could not be read:[/] {file}")
    lines += [f"  [yellow]note:[/] {escape(str(note))}" for note in record.get("notes") or ()]
    return "\n".join(lines)


def _trained(run: Any, seconds: float) -> str:
    mark = {"broken": "[red]✗[/]", "drifted": "[yellow]✓[/]", "thin": "[yellow]–[/]"}.get(
        str(run.data_verdict), "[green]✓[/]"
    )
    parts = [
        f"{mark} span {run.span}",
        run.mode or "",
        f"data {run.data_verdict}",
        run.model_verdict or "",
    ]
    if run.version is not None:
        parts.append(f"version {run.version}")
    return "  ".join(part for part in parts if part) + f"  [dim]{seconds:.1f} s[/]"

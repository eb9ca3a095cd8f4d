"""A run on the cluster while it is followed: a live table on a terminal, a line for each change elsewhere."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from noria.core.errors import ClusterError
from noria.pipeline.runners.kubeflow.records import ENDS, Run, Task, Version

_COLOURS = {
    "SUCCEEDED": "green",
    "SKIPPED": "dim",
    "OMITTED": "dim",
    "FAILED": "red",
    "ERROR": "red",
    "CANCELED": "yellow",
    "PAUSED": "yellow",
}
_MARKS = {
    "SUCCEEDED": "✓",
    "SKIPPED": "–",
    "OMITTED": "–",
    "CANCELED": "✗",
    "FAILED": "✗",
    "ERROR": "✗",
    "PAUSED": "‖",
}


def coloured_state(state: str) -> Text:
    """A state in its colour, in lower case as in the other tables."""
    return Text(state.lower(), _COLOURS.get(state, ""))


class RunView:
    """Shows a run and its tasks.

    Args:
      console: the output; a terminal gets a live table.
      names: the pipeline's tasks, in order. The server also lists drivers and launchers; they are not shown.
    """

    def __init__(self, console: Console, names: Sequence[str]):
        self._console = console
        self._names = tuple(names)
        self._live: Live | None = None
        self._run: Run | None = None
        self._shown: dict[str, str] = {}
        self._running: dict[str, float] = {}  # start times by this machine's clock: the server's may differ
        self._since = time.monotonic()

    def __enter__(self) -> "RunView":
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._draw, refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def started(self, run: Run, version: Version) -> None:
        """Prints what was submitted."""
        how = "uploaded" if version.uploaded else "exists already"
        self.print(f"[green]✓[/] version {version.name} {how}, run started: {escape(run.name)}")

    def show(self, run: Run) -> None:
        """Shows the current state of the run."""
        # The start times first: another thread draws the live table and may read in between.
        for task in self.tasks(run):
            if task.state == "RUNNING":
                self._running.setdefault(task.name, time.monotonic())
        self._run = run
        if self._live is None:
            self._print_change("run", f"run {run.state.lower()}", run.state)
        for task in self.tasks(run):
            ended = task.state in ENDS
            if self._live is None or task.state in ("FAILED", "ERROR", "CANCELED"):
                seconds = f"{task.seconds:>7.1f} s  " if ended and task.seconds is not None else " " * 11
                why = f"  {task.error}" if task.error else ""
                self._print_change(
                    task.name, f"  {task.name:<17}{seconds}{task.state.lower()}{why}", task.state
                )

    def lost(self, error: ClusterError) -> None:
        """Prints that the server does not answer for now."""
        self.print(f"[yellow]{escape(error.what)};[/] the run is not affected; polling again")

    def print(self, markup: str) -> None:
        """Prints a line, above the live table if there is one."""
        self._console.print(markup, highlight=False, soft_wrap=True)

    def tasks(self, run: Run) -> list[Task]:
        """The newest attempt of each of the pipeline's tasks that have started."""
        newest = run.newest
        return [newest[name] for name in self._names if name in newest]

    def _print_change(self, what: str, line: str, state: str) -> None:
        if self._shown.get(what) != state:
            self._shown[what] = state
            self.print(escape(line.rstrip()))

    def _draw(self) -> Group:
        seconds = f"  {time.monotonic() - self._since:.0f} s"
        run = self._run
        if run is None:
            return Group(Spinner("dots", Text(f" waiting for the run{seconds}")))
        head = Text.assemble((run.name, "bold"), "  ", coloured_state(run.state), (seconds, "dim"))
        table = Table.grid(padding=(0, 2))
        for task in self.tasks(run):
            mark: Any = (
                Text(_MARKS[task.state], _COLOURS[task.state]) if task.state in _MARKS else Spinner("dots")
            )
            took = task.seconds
            if took is None and task.state == "RUNNING":
                now = time.monotonic()
                took = now - self._running.get(task.name, now)
            figure = "" if took is None else f"{took:.0f} s"
            table.add_row(mark, task.name, Text(figure, "dim", justify="right"), coloured_state(task.state))
        return Group(head, table)

"""`noria doctor`: the checks of `pipeline/doctor.py`, on the terminal."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from noria.pipeline import doctor as checks
from noria.pipeline.cli import console

_MARKS = {checks.OK: ("✓", "green"), checks.WARNING: ("!", "yellow"), checks.PROBLEM: ("✗", "red")}


def doctor(config_path: Path, as_json: bool) -> int:
    """What was looked at, what was found, what to do; exit code 3 where there is a problem."""
    found = checks.examine(config_path)
    if as_json:
        console.emit(checks.to_json(found))
    else:
        table = Table.grid(padding=(0, 2))
        for check in found:
            table.add_row(Text(*_MARKS[check.state]), check.name, Text(check.found))
            if check.next_step:
                table.add_row("", "", Text(f"next: {check.next_step}", "bold"))
        console.out().print(table)
    return console.ATTENTION if any(check.state == checks.PROBLEM for check in found) else console.OK

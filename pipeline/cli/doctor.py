"""`noria doctor`: the checks of `noria.pipeline.doctor`, on the terminal."""

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def doctor(config: ConfigFile = PROJECT, as_json: Json = False) -> int:
    """Check machine, packages, disk, project and stores, and print what to do."""
    from rich.table import Table
    from rich.text import Text

    from noria.pipeline import doctor as checks

    found = checks.examine(config)
    if as_json:
        console.emit(checks.to_json(found))
    else:
        table = Table.grid(padding=(0, 2))
        for check in found:
            table.add_row(Text(*MARKS[check.state]), check.name, Text(check.found))
            if check.next_step:
                table.add_row("", "", Text(f"next: {check.next_step}", "bold"))
        console.out().print(table)
    return console.ATTENTION if any(check.state == checks.PROBLEM for check in found) else console.OK

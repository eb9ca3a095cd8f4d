"""docs/commands.md: every command, argument and option, from the command line's own definition.

`python -m noria.pipeline.cli.docs > docs/commands.md` writes it; a test holds it to the code.
"""

import sys
from collections.abc import Iterator
from typing import Any

import typer

from noria.pipeline.cli import app

EXIT_CODES = """\
| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | refused: what was wrong, where and what to do next stand on standard error; nothing is half-written |
| 2 | wrong usage: an unknown command or option |
| 3 | it ran, and found something a person must look at: a broken span (`run`, `replay`, `ci`), a failed check \
(`doctor`), a run on the cluster that ended badly, is not over in time or cannot be watched any more (`submit`, `ci`) |
| 70 | a bug; the traceback is in the file that is named |
| 130 | interrupted; the last good state stays, and the next `noria run` goes on from it |
"""


def documentation() -> str:
    """The page."""
    root: Any = typer.main.get_command(app.app)
    lines = [
        "# The command line",
        "",
        "Results go to standard output; progress, notes and errors to standard error. With `--json`, standard output",
        "is one JSON object; of `noria run --every` one line with an object for the first look, and for each that",
        "made a run. Where nobody reads standard output to its end, as in `noria status | head`, the exit code is 0.",
        "`noria COMMAND --help` says the same as this page, which is written by",
        "`python -m noria.pipeline.cli.docs > docs/commands.md`; a test holds it to the code.",
        "",
        EXIT_CODES,
    ]
    for name, command in _commands(root):
        lines += [
            f"## noria {name}",
            "",
            command.help,
            "",
            "| argument or option | default | meaning |",
            "| --- | --- | --- |",
        ]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            lines.append(
                f"| `{_name(parameter)}` | {_default(parameter)} | {getattr(parameter, 'help', '')} |"
            )
        lines.append("")
    return "\n".join(lines)


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name; a group's own come where the group stands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name, command


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if getattr(parameter, "is_flag", False) else f"{names} {str(parameter.name).upper()}"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "**must be given**"
    value = getattr(parameter.default, "value", parameter.default)  # of an enumeration
    return "" if value in (None, False, "", [], ()) or callable(value) else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(documentation())

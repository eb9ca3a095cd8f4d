"""The command line as people and machines use it: a process, its streams, its exit code."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from noria.core.errors import DataError
from noria.pipeline.cli import app, compile, console, local_run, polling
from noria.pipeline.runs import overview
from noria.stores.registry import Registry

KNOWN: Any = typer.main.get_command(app.app)
GROUPS = {name: found for name, found in KNOWN.commands.items() if hasattr(found, "commands")}
COMMANDS = tuple(name for name in KNOWN.commands if name not in GROUPS)
VERBS = tuple(f"{name} {verb}" for name, group in GROUPS.items() for verb in group.commands)
PROJECT = "name: rides\nlabel: big_tip\nspan: rows:100\n"


def noria(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "noria.pipeline", *arguments], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "noria.yaml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`noria --help` names every command and the exit codes."""
    done = noria("--help", cwd=tmp_path)
    assert 0 == done.returncode
    listed = set(re.findall(r"^\W*([a-z-]+) ", done.stdout, re.MULTILINE))
    assert {*COMMANDS, *GROUPS} <= listed
    assert {"unquarantine", "compile"} <= listed
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("command", [*COMMANDS, *VERBS])
def test_every_table_has_json(command: str) -> None:
    """Each command takes --json."""
    done = CliRunner().invoke(app.app, [*command.split(), "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert 0 == done.exit_code
    assert "--json" in done.output


def test_documentation_is_current() -> None:
    """docs/commands.md is what typer writes from the code: `make docs`."""
    page = Path(__file__).parents[3] / "docs" / "commands.md"
    options = ["--name", "noria", "--title", "The command line"]
    command = [sys.executable, "-m", "typer", "noria.pipeline.cli.app", "utils", "docs", *options]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert written == page.read_text(encoding="utf-8")


def test_starts_light() -> None:
    """The command line and its help import neither TFX, TensorFlow, Beam, pandas, pyarrow, pydantic nor YAML."""
    code = (
        "import sys\nfrom noria.pipeline.cli import app\nsys.argv = ['noria', '--help']\n"
        "try:\n    app.main()\nexcept SystemExit:\n    pass\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "tfx",
        "tensorflow",
        "apache_beam",
        "pandas",
        "pyarrow",
        "matplotlib",
        "jinja2",
        "kfp",
        "kubernetes",
        "pydantic",
        "yaml",
    }
    assert set() == heavy & set(done.stderr.split())


def test_refusal_is_one(tmp_path: Path) -> None:
    """No project: exit code 1, words on standard error, nothing on standard output, no traceback."""
    done = noria("status", "--json", cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert "there is no project here" in done.stderr
    assert "Traceback" not in done.stderr


def test_usage_is_two(tmp_path: Path) -> None:
    """A command that is not there: exit code 2, and the near one is named."""
    done = noria("statsu", cwd=tmp_path)
    assert 2 == done.returncode
    assert "status" in done.stderr


def test_bug_is_seventy(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw: exit code 70, one line, and the traceback in a file that it names."""

    def breaks(*_: object) -> int:
        raise ZeroDivisionError("nobody saw this coming")

    monkeypatch.setattr(overview, "read", breaks)
    done = CliRunner().invoke(app.app, ["status", "--config", str(project)])
    assert console.UNEXPECTED == done.exit_code
    assert "nobody saw this coming" in done.output
    log = Path("".join(done.output.split("traceback is in ")[1].split()))
    assert "ZeroDivisionError" in log.read_text(encoding="utf-8")
    log.unlink()


def test_interruption_is_130(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: exit code 130 and a sentence, no traceback."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(overview, "read", interrupted)
    done = CliRunner().invoke(app.app, ["status", "--config", str(project)])
    assert console.INTERRUPTED == done.exit_code
    assert "interrupted" in done.output


def test_brackets_in_messages(capsys: pytest.CaptureFixture) -> None:
    """Text that looks like markup is shown unchanged in a message."""
    console.show_error(DataError("a [bold]list[/] of [1, 2]", where="[x]", next_step="try [y]"))
    said = capsys.readouterr().err
    assert "a [bold]list[/] of [1, 2]" in said
    assert "[x]" in said and "[y]" in said


def test_json_has_no_nan(capsys: pytest.CaptureFixture) -> None:
    """NaN and infinity are not JSON: they come out as null."""
    console.emit({"auc": float("nan"), "list": [float("inf"), 1.5]})
    assert {"auc": None, "list": [None, 1.5]} == json.loads(capsys.readouterr().out)


def test_json_lines(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --every --json` prints a line for each object, so that a reader needs no special parser."""
    monkeypatch.setattr(local_run, "with_progress", lambda config, work: [])
    monkeypatch.setattr(polling, "poll", lambda every, look: look(True) or look(True))
    done = CliRunner().invoke(app.app, ["run", "--every", "1h", "--json", "--config", str(project)])
    assert 0 == done.exit_code
    assert ["rides", "rides"] == [json.loads(line)["project"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--json"],
        ["doctor"],
        ["doctor", "--json"],
        ["--help"],
        ["schedule"],
        ["--version"],
    ],
)
def test_nobody_reads(project: Path, arguments: list[str]) -> None:
    """Where the reader has left (`noria status | head`) a command ends with code 0 and without a message."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "noria.pipeline", *arguments]
    done = subprocess.run(command, cwd=project, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (0, "") == (done.returncode, done.stderr)


def test_empty_project(project: Path) -> None:
    """A project that was never run has a status: no champion, no versions, and nothing is made by looking."""
    done = noria("status", "--json", cwd=project)
    found = json.loads(done.stdout)
    assert 0 == done.returncode
    assert (None, [], []) == (found["champion"], found["versions"], found["runs"])
    assert not (project / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["report"], "there is no report yet"),
        (["promote", "3", "--force", "--reason", "x"], "there is no version 3"),
        (["rollback"], "there is no version to go back to"),
    ],
)
def test_nothing_to_act_on(project: Path, arguments: list[str], what: str) -> None:
    """Commands that need a version say that there is none."""
    done = noria(*arguments, cwd=project)
    assert 1 == done.returncode
    assert what in done.stderr


def test_the_next_step_names_the_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be typed next works unchanged: with the --config that was given."""
    monkeypatch.setattr(compile, "compile_quietly", lambda config, output: output)
    arguments = ["compile", "--config", str(project), "-o", "my rides.yaml"]
    done = CliRunner().invoke(app.app, arguments, env={"COLUMNS": "500"})
    assert f"noria submit --config {project} --package 'my rides.yaml'" in done.output
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("x")
    Registry(project / "home").register({"serving": model}, blessed=False, run_id="a", mode="cold")
    arguments = ["promote", "1", "--config", str(project)]
    done = CliRunner().invoke(app.app, arguments, env={"COLUMNS": "500"})
    assert console.REFUSED == done.exit_code
    assert f"noria promote 1 --config {project} --force" in done.output


@pytest.mark.parametrize("seconds", ["inf", "1e10", "nan", "-1"])
@pytest.mark.parametrize("command", ["run --wait", "ci --wait-for-running", "submit --timeout"])
def test_no_time_to_wait(project: Path, command: str, seconds: str) -> None:
    """Seconds that nobody can wait are wrong usage, found before anything is done."""
    arguments = [*command.split(), seconds, "--config", str(project)]
    assert console.USAGE == CliRunner().invoke(app.app, arguments).exit_code
    assert not (project / "home").exists()


def test_the_spinner_spins() -> None:
    """On a terminal something moves while `init` and `compile` work; what libraries write is not seen."""
    code = (
        "import os, time\nfrom noria.pipeline.cli.quiet import quietly\n"
        "with quietly('compiling'):\n    os.write(2, b'noise')\n    time.sleep(0.5)\n"
    )
    terminal, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=slave, env=environ)
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(terminal, 4096):
            seen += part
    os.close(terminal)
    assert 0 == process.wait()
    assert b"compiling" in seen and b"noise" not in seen
    assert 2 <= len(set(re.findall("[⠁-⣿]", seen.decode())))  # the dots of the spinner


def test_doctor_finds_what_is_missing(project: Path) -> None:
    """A project without a schema and a preprocessing_fn: exit code 3, and each check says what to do."""
    done = noria("doctor", "--json", cwd=project)
    found = json.loads(done.stdout)
    problems = {check["name"]: check["next_step"] for check in found["checks"] if check["state"] == "problem"}
    assert console.ATTENTION == done.returncode
    assert not found["healthy"]
    assert {"schema", "preprocessing"} <= set(problems)
    assert all(problems.values())

"""What the client decides by itself, without a server: whom to ask, when to run, what to show."""

import io
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from noria.core.errors import ConfigError
from noria.pipeline import environment
from noria.pipeline.cli.run_view import RunView
from noria.pipeline.cli.schedule import six_fields
from noria.pipeline.config import Config, load
from noria.pipeline.runners.kubeflow.connection import Flags, Secret, resolve
from noria.pipeline.runners.kubeflow.records import Run, Task

PROJECT = """\
name: rides
label: big_tip
span: rows:100
kubeflow:
  host: https://file.example.com
  namespace: file
  experiment: file
  token_file: file.token
  cookie_file: file.cookie
"""
BEGAN = datetime(2026, 1, 5, 6, tzinfo=timezone.utc)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "noria.yaml").write_text(PROJECT)
    (tmp_path / "file.token").write_text("from-file\n")
    return load(tmp_path)


def test_flag_environment_file(config: Config, tmp_path: Path) -> None:
    """A flag goes before the environment, and that before the project's file; each by itself."""
    environment = {
        "NORIA_KUBEFLOW_HOST": "http://env.example.com:80",
        "NORIA_KUBEFLOW_NAMESPACE": "env",
        "NORIA_KUBEFLOW_TOKEN": "from-env",
        "NORIA_KUBEFLOW_EXPERIMENT": "",  # set but empty says nothing
    }
    found = resolve(config, Flags(host="https://flag.example.com"), environment)
    assert ("https://flag.example.com", "env", "file") == (found.host, found.namespace, found.experiment)
    assert found.token is not None
    assert "from-env" == found.token.read()
    plain = resolve(config, environ={})
    assert plain.token is not None
    assert ("https://file.example.com", "from-file") == (plain.host, plain.token.read())
    (tmp_path / "flag.token").write_text("from-flag")
    flagged = resolve(config, Flags(token_file=tmp_path / "flag.token"), environment)
    assert flagged.token is not None
    assert "from-flag" == flagged.token.read()


def test_the_experiment_is_the_project(tmp_path: Path) -> None:
    """Where nothing names an experiment, the project does."""
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: big_tip\nspan: rows:100\n")
    assert "rides" == resolve(load(tmp_path), Flags(host="h"), {}).experiment


@pytest.mark.parametrize(
    ("pasted", "meant"),
    [
        ("kubeflow.example.com", "https://kubeflow.example.com"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("https://k.example.com/pipeline/#/runs/details/1", "https://k.example.com/pipeline"),
        ("https://k.example.com/pipeline/apis/v2beta1/healthz", "https://k.example.com/pipeline"),
        ("https://k.example.com/pipeline/?ns=team#/runs", "https://k.example.com/pipeline"),
        ("https://k.example.com/pipeline?ns=team", "https://k.example.com/pipeline"),
    ],
)
def test_hosts_as_people_paste_them(config: Config, pasted: str, meant: str) -> None:
    """Without a scheme, with a slash, or straight out of the browser."""
    assert meant == resolve(config, Flags(host=pasted), {}).host


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TIMEOUT", "soon"),
        ("RETRIES", "-1"),
        ("POLL", "inf"),
        ("TIMEOUT", "nan"),
        ("TIMEOUT", "0"),
        ("POLL", "0"),
    ],
)
def test_numbers(config: Config, key: str, value: str) -> None:
    """A number that is none, that no answer could meet, or that asks without a pause is refused by name."""
    with pytest.raises(ConfigError, match=f"NORIA_KUBEFLOW_{key}"):
        resolve(config, environ={f"NORIA_KUBEFLOW_{key}": value})


@pytest.mark.parametrize("file", ["Bearer one-line\n", " one-line"])
def test_secrets_as_people_paste_them(tmp_path: Path, file: str) -> None:
    """With the header's first word, or with spaces around."""
    (tmp_path / "token").write_text(file)
    assert "one-line" == Secret("token file", file=tmp_path / "token").read()


def test_a_secret_is_one_line(tmp_path: Path) -> None:
    """Two lines or odd characters are refused without being repeated: a header's own error would show them."""
    for value in ("hunter\ntwo", "huntèr"):
        (tmp_path / "token").write_text(value)
        with pytest.raises(ConfigError, match="one line of plain characters") as caught:
            Secret("token file", file=tmp_path / "token").read()
        assert "hunt" not in str(caught.value)


def test_empty_and_missing_secrets(config: Config, tmp_path: Path) -> None:
    """A token file that is empty or not there is refused with its path."""
    found = resolve(config, environ={})
    assert found.token is not None
    assert found.cookie is not None
    (tmp_path / "file.token").write_text(" \n")
    with pytest.raises(ConfigError, match="token file is empty"):
        found.token.read()
    with pytest.raises(ConfigError, match=r"file\.cookie"):
        found.cookie.read()


def test_cron() -> None:
    """Kubeflow would read five fields as one with seconds: six o'clock would be six minutes past each hour."""
    assert "0 0 6 * * *" == six_fields("0 6 * * *")
    assert "15 0 6 * * 1-5" == six_fields("15 0 6 * * 1-5")
    assert "@daily" == six_fields("@daily")
    for wrong in ("", "6", "@never", "0 6 * * * * *", "0 6 * * mon;tue"):
        with pytest.raises(ConfigError, match="five fields"):
            six_fields(wrong)


def run(state: str, *tasks: Task) -> Run:
    return Run("1", "rides", state, BEGAN, None, None, "link", tasks)


def task(name: str, state: str, begin: int = 0, end: int | None = None) -> Task:
    at = BEGAN + timedelta(seconds=begin)
    return Task(name, state, at, None if end is None else BEGAN + timedelta(seconds=end))


def test_the_newest_try_counts() -> None:
    """A task that is retried is listed once, with its newest attempt; drivers are omitted; in the pipeline's order."""
    view = RunView(Console(file=io.StringIO()), ["Trainer", "Pusher"])
    shown = view.tasks(
        run(
            "RUNNING",
            task("Pusher", "PENDING", 9),
            task("Trainer", "RUNNING", 5),
            task("Trainer", "FAILED", 0, 4),
            task("Trainer-driver", "SUCCEEDED", 0, 1),
        )
    )
    assert [("Trainer", "RUNNING"), ("Pusher", "PENDING")] == [(each.name, each.state) for each in shown]


def test_on_a_terminal() -> None:
    """A terminal gets one table in place, with each task's state and seconds; a failure stays above it."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with RunView(console, ["Trainer", "Pusher"]) as view:
        view.show(run("RUNNING", task("Trainer", "RUNNING"), task("Pusher", "PENDING")))
        with console.capture() as drawn:
            console.print(view._draw())
        assert "0 s" in drawn.get()  # since it was seen to run, whatever the two clocks say
        view.show(run("FAILED", task("Trainer", "FAILED", 0, 42), task("Pusher", "SKIPPED")))
        with console.capture() as drawn:
            console.print(view._draw())
    assert "42 s" in drawn.get()
    assert "skipped" in drawn.get()
    assert "Trainer             42.0 s  failed" in screen.getvalue()


def test_drawn_in_between() -> None:
    """The table is drawn by a separate thread: each task that it may see running has a time by then."""

    class Watched(RunView):
        seen: list[str] = []

        @property
        def _run(self) -> Run | None:
            return self._kept

        @_run.setter
        def _run(self, run: Run | None) -> None:
            self._kept = run
            if run is not None:
                console.print(self._draw())
                self.seen += self._running

    console = Console(file=io.StringIO())
    view = Watched(console, ["Trainer"])
    view.show(run("RUNNING", task("Trainer", "RUNNING")))
    assert ["Trainer"] == view.seen
    view._running.clear()
    console.print(view._draw())  # and one that is not known yet is drawn all the same


def test_without_kfp(tmp_path: Path) -> None:
    """Without the SDK: exit code 1, and the command that installs it."""
    (tmp_path / "noria.yaml").write_text(PROJECT)
    code = (
        "import sys\n"
        "sys.modules['kfp'] = None  # what Python does for a package that is not there\n"
        "from noria.pipeline.cli import app\n"
        "sys.argv = ['noria', 'runs']\n"
        "app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (1, "") == (done.returncode, done.stdout)
    assert environment.how_to_install("kubeflow") in done.stderr
    assert "Traceback" not in done.stderr

"""Bad input: exit code 1, what was wrong, where, what next; no traceback, and nothing half-written."""

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from noria.core import files
from noria.core.locks import hold
from noria.ingestion.ingest import ingest
from noria.pipeline.config import load
from noria.stores.spans import SpanStore
from tests.helpers.project import Project

from .small import FEATURES, small_project

HOURS = [(day, hour) for day in range(1, 29) for hour in range(24)]
ROWS = [f"2013-01-{day:02d}T{hour:02d}:00:00,{hour},{'AB'[hour % 2]},{hour % 2}" for day, hour in HOURS]


def _project(folder: Path, text: str | None = None, **changes) -> Project:
    (folder / "events.csv").write_text(
        text if text is not None else "\n".join(["when,n,kind,late", *ROWS]) + "\n"
    )
    settings = {
        "name": "events",
        "home": "home",
        "data": {"source": "events.csv"},
        "label": {"column": "late"},
        "time": {"column": "when"},
        "span": {"every": "day"},
        "schema": "schema.pbtxt",
    }
    (folder / "noria.yaml").write_text(yaml.safe_dump({**settings, **changes}))
    (folder / "schema.pbtxt").write_text("")
    return Project(folder)


def _refused(project: Project, *says: str) -> str:
    done = project.noria("run", "--runs", "1", code=1)
    text = " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in text
    for part in says:
        assert part in text
    assert "next" in text
    return text


def _committed(project: Project) -> list[str]:
    return sorted(path.parent.parent.name for path in project.home.glob("spans/*/v*/manifest.json"))


def test_missing_label_column(tmp_path: Path):
    """A renamed column is named, with the nearest one."""
    project = _project(tmp_path, label={"column": "lates"})
    _refused(project, "column 'lates' is missing; did you mean 'late'?")
    assert [] == _committed(project)


def test_wrong_type_in_row_17(tmp_path: Path):
    """The row is named and goes to the dead-letter file; one of forty is too many, and stops the ingestion."""
    rows = list(ROWS)
    rows[16] = rows[16].replace(",16,", ",sixteen,")
    project = _project(tmp_path, "\n".join(["when,n,kind,late", *rows[:40]]) + "\n")
    said = (
        "row 17, column 'n': 'sixteen' is not a whole number (1 of 40 rows cannot be read; at most 1% may be)"
    )
    _refused(project, said, "next correct the file; every bad row is in")
    assert [] == _committed(project)
    [letters] = (project.home / "dead-letters").iterdir()
    [letter] = [json.loads(line) for line in letters.read_text().splitlines()]
    assert (17, "n", "sixteen", rows[16]) == tuple(letter[key] for key in ("row", "column", "value", "raw"))


def test_empty_file(tmp_path: Path):
    """An empty file is named."""
    _refused(_project(tmp_path, ""), "the file is empty", f"where {tmp_path / 'events.csv'}")


def test_missing_file(tmp_path: Path):
    """A source that is not there is named."""
    _refused(_project(tmp_path, data={"source": "elsewhere.csv"}), "there is no such file", "elsewhere.csv")


def test_truncated_parquet(tmp_path: Path):
    """Half a Parquet file is refused, and gives no span."""
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"when": range(10000), "late": [0, 1] * 5000}), whole)
    (tmp_path / "events.parquet").write_bytes(whole.read_bytes()[:4000])
    project = _project(tmp_path, data={"source": "events.parquet"})
    _refused(project, "the file is not a complete Parquet file", f"where {tmp_path / 'events.parquet'}")
    assert [] == _committed(project)


def test_no_label_at_all(tmp_path: Path):
    """A file in which every label is NaN has nothing to train on."""
    rows = [row[:-1] + "NaN" for row in ROWS]
    _refused(
        _project(tmp_path, "\n".join(["when,n,kind,late", *rows]) + "\n"),
        "no row has a label",
        "label column 'late'",
    )


def test_unknown_key(tmp_path: Path):
    """A misspelt key of the config: which, in which line, and what was meant."""
    _refused(
        _project(tmp_path, windows={"first": 2}),
        "unknown key `windows`",
        "noria.yaml, line 12 next did you mean `window`?",
    )


def test_second_run_is_refused(tmp_path: Path):
    """While another run uses the project, a run refuses at once, or waits for the given time."""
    project = _project(tmp_path)
    with hold(project.home, command="the other one"):
        _refused(project, "another run uses the project", "the other one", "--wait")
        waited = project.noria("run", "--runs", "1", "--wait", "1", code=1)
        assert "waited 1 s" in " ".join(waited.stderr.split())


@contextlib.contextmanager
def _disk(home: Path) -> Iterator[Callable[[], list[str]]]:
    """Makes `home` a disk of one megabyte; what it yields fills it, but for 40 KiB, and says how to start a program.

    Where nothing can be mounted, the program starts with a hook that lets no span be written.
    """
    home.mkdir()
    mounted = (
        0 == os.geteuid()
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "noria-test", str(home)], capture_output=True
        ).returncode
    )

    def fill() -> list[str]:
        if not mounted:
            return [sys.executable, "-c", _NO_SPACE, str(home)]
        free = os.statvfs(home)
        (home / "ballast").write_bytes(bytes(free.f_bavail * free.f_bsize - (40 << 10)))
        return [sys.executable, "-m", "noria.pipeline"]

    try:
        yield fill
    finally:
        if mounted:
            subprocess.run(["umount", str(home)], check=True)


_NO_SPACE = """
import errno, os, runpy, sys
home = sys.argv.pop(1)
def hook(event, arguments):
    if event == "os.mkdir" and str(arguments[0]).startswith(f"{home}/spans/.staging-"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
sys.addaudithook(hook)
runpy.run_module("noria.pipeline", run_name="__main__")
"""


def test_full_disk(tmp_path: Path):
    """A full disk is reported as full. The old span does not change, and with room the rest is ingested."""
    project = _project(tmp_path, "\n".join(["when,n,kind,late", *ROWS[:24]]) + "\n")
    config = load(tmp_path / "noria.yaml")
    with _disk(project.home) as fill:
        store = SpanStore(project.home)
        assert (1,) == ingest(tmp_path / "events.csv", config.event_settings(), store).spans
        before = files.tree_digests(store.folder / "00000001")
        (tmp_path / "events.csv").write_text("\n".join(["when,n,kind,late", *ROWS]) + "\n")
        done = subprocess.run(
            [*fill(), "run", "--runs", "1"], cwd=tmp_path, env=project.env(), capture_output=True, text=True
        )
        said = " ".join(done.stderr.split())
        assert 1 == done.returncode
        assert "Traceback" not in said
        assert "No space left on device" in said
        assert "next free some disk space (the last good state is safe), then run again" in said
        assert before == files.tree_digests(store.folder / "00000001")
        assert store.ids() == [int(name) for name in _committed(project)]
        assert len(store.ids()) < 28
        assert [24] * len(store.ids()) == [store.table(span, verify=True).num_rows for span in store.ids()]
        (project.home / "ballast").unlink(missing_ok=True)
        ingest(tmp_path / "events.csv", config.event_settings(), store)
        assert [24] * 28 == [store.manifest(span).rows for span in store.ids()]
        assert before == files.tree_digests(store.folder / "00000001")


def test_limit_on_file_sizes(tmp_path: Path):
    """A user's limit on the size of files and a full disk give different errors; no span is half-written."""
    project = _project(tmp_path)
    done = subprocess.run(
        project.command("run", "--runs", "1"),
        cwd=tmp_path,
        env=project.env(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200)),
    )
    said = " ".join(done.stderr.split())
    assert 1 == done.returncode
    assert "Traceback" not in said
    assert "File too large" in said
    assert "next raise the limit on file sizes (ulimit -f), then run again" in said
    assert [] == _committed(project)


@pytest.mark.parametrize("command", ["run", "replay"])
def test_home_below_a_file(tmp_path: Path, command: str):
    """A home that cannot be made is refused in words, before anything is read."""
    (tmp_path / "taken").write_text("")
    project = _project(tmp_path, home="taken/home")
    done = project.noria(command, code=1)
    said = " ".join(done.stderr.split())
    assert "the home folder cannot be used" in said
    assert f"where {tmp_path / 'taken'}" in said
    assert "next" in said and "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"]])
def test_output_that_cannot_be_written(tmp_path: Path, arguments: list[str]):
    """A result on a full disk is an error, in words."""
    project = _project(tmp_path)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            project.command(*arguments),
            cwd=tmp_path,
            env=project.env(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    said = " ".join(done.stderr.split())
    assert (1, True) == (done.returncode, "No space left on device where standard output" in said), said


@pytest.mark.slow
def test_failed_run_has_a_page(tmp_path: Path):
    """A `preprocessing_fn` that raises: refused, with a page that says where; the mended one's run takes its place."""
    project = small_project(tmp_path)
    project.forked = True
    features = tmp_path / "my_features.py"
    features.write_text(
        FEATURES.replace("outputs = flights", "raise ValueError('no wings')\n    outputs = flights")
    )
    said = _refused(project, "no wings")
    told = project.json("report")
    assert told["report"].endswith("-failed.html") and told["report"] in said
    assert "The run stopped in Transform" in (page := Path(told["report"]).read_text()) and "no wings" in page
    features.write_text(FEATURES)
    (run,) = project.json("run", "--runs", "1")["runs"]
    assert run["report"] == project.json("report")["report"]
    assert not Path(told["report"]).exists()


def test_help_imports_nothing_heavy():
    """`noria --help` answers without TFX, TensorFlow, pandas or pyarrow."""
    code = (
        "import sys\nfrom noria.pipeline.cli import app\n"
        "try:\n    sys.argv = ['noria', '--help']\n    app.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("command", ["run", "status", "report"])
def test_no_project_here(tmp_path: Path, command: str):
    """Outside a project every command says so and how to make one."""
    done = Project(tmp_path).noria(command, code=1)
    assert "noria init" in done.stderr

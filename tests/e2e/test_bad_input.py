"""Bad input: exit code 1, what was wrong, where, what next; no traceback, and nothing half-written."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from noria.stores.lock import hold
from noria.stores.spans import SpanStore

from .conftest import Project

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
    done = project.noria("run", "--turns", "1", code=1)
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
    _refused(project, "lates", "late")
    assert [] == _committed(project)


def test_wrong_type_in_row_17(tmp_path: Path):
    """One bad value goes to the dead-letter file with its row; too many stop the ingestion."""
    rows = list(ROWS)
    rows[16] = rows[16].replace(",16,", ",sixteen,")
    project = _project(tmp_path, "\n".join(["when,n,kind,late", *rows[:40]]) + "\n")
    _refused(project, "sixteen")
    assert [] == _committed(project)


def test_empty_file(tmp_path: Path):
    """An empty file is named."""
    _refused(_project(tmp_path, ""), "events.csv", "empty")


def test_missing_file(tmp_path: Path):
    """A source that is not there is named."""
    _refused(_project(tmp_path, data={"source": "elsewhere.csv"}), "elsewhere.csv")


def test_truncated_parquet(tmp_path: Path):
    """Half a Parquet file is no Parquet file, and no span."""
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"when": range(10000), "late": [0, 1] * 5000}), whole)
    (tmp_path / "events.parquet").write_bytes(whole.read_bytes()[:4000])
    project = _project(tmp_path, data={"source": "events.parquet"})
    _refused(project, "events.parquet")
    assert [] == _committed(project)


def test_no_label_at_all(tmp_path: Path):
    """A file in which every label is NaN has nothing to train on."""
    rows = [row[:-1] + "NaN" for row in ROWS]
    _refused(_project(tmp_path, "\n".join(["when,n,kind,late", *rows]) + "\n"), "late")


def test_unknown_key(tmp_path: Path):
    """A misspelt key of the config: which, in which line, and what was meant."""
    _refused(_project(tmp_path, windows={"first": 2}), "windows", "noria.yaml", "line", "window")


def test_second_run_is_refused(tmp_path: Path):
    """While another run holds the project, a run refuses at once, or waits as long as it is told."""
    project = _project(tmp_path)
    with hold(project.home, command="the other one"):
        _refused(project, "another run holds the project", "the other one", "--wait")
        waited = project.noria("run", "--turns", "1", "--wait", "1", code=1)
        assert "waited 1 s" in " ".join(waited.stderr.split())


def test_full_disk(tmp_path: Path):
    """A disk on which no more fits is said to be full; no span is half-written."""
    project = _project(tmp_path)
    done = subprocess.run(
        project.command("run", "--turns", "1"),
        cwd=tmp_path,
        env=project.env(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200)),
    )
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    assert "next" in done.stderr
    store = SpanStore(project.home)
    assert store.ids() == [int(name) for name in _committed(project)]
    assert all(sum(batch.num_rows for batch in store.read(span, verify=True)) for span in store.ids())


def test_help_imports_nothing_heavy():
    """`noria --help` answers without TFX, TensorFlow, pandas or pyarrow."""
    code = (
        "import sys\nfrom noria.pipeline import cli\n"
        "try:\n    sys.argv = ['noria', '--help']\n    cli.main()\nexcept SystemExit:\n    pass\n"
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

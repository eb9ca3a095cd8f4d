"""What is shown while the pipeline runs, from recorded journal records."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from noria.pipeline.cli import progress
from noria.pipeline.cli.progress import Progress
from noria.stores.registry import RunRecord

RECORDS = [
    {"stage": "Ingest", "event": "start"},
    {"stage": "Ingest", "event": "note", "span": 1, "rows": 900},
    {
        "stage": "Ingest",
        "event": "end",
        "seconds": 1.25,
        "spans": (1, 2, 3, 4),
        "late": (),
        "rows": 3600,
        "unlabelled": 12,
        "duplicates": 0,
        "dead_letters": 2,
        "dead_letter_file": "home/dead-letters/rides.csv",
        "skipped": (),
        "notes": ("skipped columns that the first spans don't have: [x]",),
    },
    {"stage": "Run", "event": "start", "span": 4, "run_id": "r", "log": "home/runs/r/tfx.log"},
    {"stage": "SpanExampleGen", "event": "start"},
    {"stage": "SpanExampleGen", "event": "note", "mode": "warm", "rows": 26398, "path": "beam"},
    {
        "stage": "SpanExampleGen",
        "event": "end",
        "seconds": 0.4,
        "mode": "warm",
        "rows": 26398,
        "path": "beam",
    },
    {"stage": "DataGate", "event": "start"},
    {"stage": "DataGate", "event": "end", "seconds": 0.1, "verdict": "drifted", "reasons": ["hour: psi 0.4"]},
    {"stage": "Trainer", "event": "start"},
    {"stage": "Trainer", "event": "failed", "seconds": 3.0, "error": "no"},
    {
        "stage": "Run",
        "event": "end",
        "run": RunRecord(4, "r", data_verdict="drifted", model_verdict="blessed", mode="warm", version=2),
    },
]


def shown(terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None, highlight=False)
    with Progress(console) as view:
        for record in RECORDS:
            view.listen(record)
    return out.getvalue()


def test_plain_lines_without_a_terminal() -> None:
    """In a log each stage is one line: span, stage, seconds, rows; no control characters."""
    said = shown(terminal=False)
    assert "\x1b" not in said and "\r" not in said
    assert "ingested: 4 new spans, 3,600 rows, 12 without a label" in said
    assert "2 rows could not be read: home/dead-letters/rides.csv" in said
    assert "don't have: [x]" in said
    assert "span 4  SpanExampleGen       0.4 s  warm, 26,398 rows, on Beam" in said
    assert "DataGate             0.1 s  drifted, hour: psi 0.4" in said
    assert "Trainer              3.0 s  failed" in said
    assert "✓ span 4  warm  data drifted  blessed  version 2" in said


def test_a_thin_span_is_told_with_its_reason() -> None:
    """It ends its stage and its run, and nothing failed."""
    out = io.StringIO()
    facts = {"stage": "SpanExampleGen", "seconds": 0.2, "verdict": "thin", "reasons": ["too few rows"]}
    run = RunRecord(5, "r", data_verdict="thin", model_verdict="skipped")
    with Progress(Console(file=out, width=120, color_system=None)) as progress:
        progress.listen({"stage": "Run", "event": "start", "span": 5, "run_id": "r", "log": "l"})
        progress.listen({**facts, "event": "end"})
        progress.listen({"stage": "Run", "event": "end", "run": run})
    assert "span 5  SpanExampleGen       0.2 s  thin, too few rows" in out.getvalue()
    assert "– span 5  data thin  skipped" in out.getvalue()
    assert [] == progress.broken


def test_live_view_on_a_terminal() -> None:
    """On a terminal the stages are drawn in place; what remains is a line for each run."""
    said = shown(terminal=True)
    assert "\x1b[" in said
    assert "✓ span 4  warm  data drifted  blessed  version 2" in said


def test_a_failed_run_names_its_page() -> None:
    """Where a run fails, the last line says where its page is."""
    out = io.StringIO()
    with Progress(Console(file=out, width=120, color_system=None)) as view:
        for record in RECORDS[3:-1]:
            view.listen(record)
        view.listen({"stage": "Transform", "event": "failed", "seconds": 1.0, "transform": "refreshed"})
        view.listen({"stage": "Run", "event": "failed", "span": 4, "report": "home/reports/[4].html"})
    assert "Transform            1.0 s  failed  refreshed" in out.getvalue()
    assert "✗ span 4  failed: home/reports/[4].html" == out.getvalue().splitlines()[-1]


def test_a_stage_begins_while_the_view_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view is drawn in a separate thread: a stage that comes meanwhile does not break it."""
    view = Progress(Console(file=io.StringIO()))
    for record in RECORDS[3:-1]:
        view.listen(record)
    before = progress._numbers

    def slow(stage: dict[str, Any]) -> str:
        view.listen({"stage": "Pusher", "event": "start"})
        return before(stage)

    monkeypatch.setattr(progress, "_numbers", slow)
    view._draw()


def test_noise_goes_to_the_file(tmp_path: Path) -> None:
    """What C code and child processes write lands in the log; the terminal stays ours."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom noria.pipeline.cli.progress import noise_to\n"
        f"with noise_to(Path({str(tmp_path / 'a.log')!r})) as output:\n"
        "    os.write(1, b'noise one\\n'); os.write(2, b'noise two\\n')\n"
        f"    output.to(Path({str(tmp_path / 'runs' / 'b.log')!r}))\n"
        "    os.system('echo noise three'); print('noise four')\n"
        "    print('progress', file=output.terminal)\n"
        "print('result')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("result\n", "progress\n") == (done.stdout, done.stderr)
    assert "noise one\nnoise two\n" == (tmp_path / "a.log").read_text(encoding="utf-8")
    assert {"noise three", "noise four"} == set((tmp_path / "runs" / "b.log").read_text().splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_log_leaves_the_terminal() -> None:
    """If the log's disk is full, the terminal still shows the error."""
    code = (
        "from pathlib import Path\nfrom noria.pipeline.cli.progress import noise_to\n"
        "with noise_to(Path('/dev/full')):\n    print('noise')\n    raise ValueError('the error')\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "ValueError: the error" in done.stderr


def test_the_cause_of_a_refusal_is_in_the_log(tmp_path: Path) -> None:
    """The message is short; the log has the traceback."""
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: late\nspan: rows:10\n", encoding="utf-8")
    code = (
        "from noria.pipeline.cli.local_run import with_progress\nfrom noria.pipeline.config import load\n"
        "from noria.core.errors import SpanError\n"
        "def run(listen):\n    raise SpanError('the run stopped') from ValueError('deep down')\n"
        "with_progress(load(), run)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path)
    assert "ValueError: deep down" in (tmp_path / "home" / "runs" / "noria.log").read_text(encoding="utf-8")

"""What comes out of a run that Beam has wrapped: the component's own error, and an interruption as one."""

import contextlib
import errno
from pathlib import Path
from typing import Any

import apache_beam
import pytest

from noria.components import journal
from noria.core.errors import DataError
from noria.pipeline.config import load
from noria.pipeline.runners import beam


class Node(apache_beam.DoFn):
    """A node of the pipeline that fails: in its stage, or before it has begun one."""

    def __init__(self, error: BaseException, stage: str | None):
        self.error, self.stage = error, stage

    def process(self, element: Any) -> None:
        with journal.stage(self.stage) if self.stage else contextlib.nullcontext():
            raise self.error


@pytest.mark.parametrize(
    ("error", "stage"),
    [
        (DataError("no"), "DataGate"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "Trainer"),
        (KeyboardInterrupt(), "Trainer"),
        (KeyboardInterrupt(), None),
    ],
)
def test_error_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, stage: str | None
) -> None:
    """A refusal, a full disk and Ctrl-C come out as what they are, not as Beam's RuntimeError."""
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: late\nspan: rows:10\n", encoding="utf-8")

    class Runner:
        def run(self, nodes: Any) -> None:
            with apache_beam.Pipeline(runner="DirectRunner") as pipeline:
                _ = pipeline | apache_beam.Create([None]) | apache_beam.ParDo(Node(error, stage))

    monkeypatch.setattr(beam.beam_dag_runner, "BeamDagRunner", Runner)
    monkeypatch.setattr(beam, "_pipeline", lambda *_, **__: None)
    with pytest.raises(type(error)) as caught:
        beam.run(
            load(tmp_path),
            span=1,
            mode="auto",
            run_id="r",
            code_digest="",
            run_folder=tmp_path / "runs" / "r",
        )
    assert str(error) == str(caught.value)

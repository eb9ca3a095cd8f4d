"""A span with too few rows has a run; no run trains here."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from noria.components import journal
from noria.components.infra_validation import validator
from noria.core.errors import DataError, ThinError
from noria.pipeline.config import Config, load
from noria.pipeline.runs import run
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A project with spans 1 to 3 and no source."""
    settings = {"name": "rides", "home": "home", "label": "late", "time": "at", "window": {"first": 1}}
    (tmp_path / "noria.yaml").write_text(yaml.safe_dump(settings))
    for span in (1, 2, 3):
        SpanStore(tmp_path / "home").create(span, [pa.table({"at": [span]})], source="a")
    monkeypatch.setattr(validator, "start", lambda: None)
    return load(tmp_path)


def runs(verdicts: dict[int, str]) -> Any:
    """In place of a run on TFX: records the span's run by its verdict, as a component would; thin ones end it."""

    def execute(config: Config, span: int, mode: str, run_id: str, folder: Path, tell: Any) -> None:
        verdict = verdicts[span]
        if verdict == "failed":
            raise DataError("no")
        record = RunRecord(
            span, run_id, span_version=1, data_verdict=verdict, model_verdict="skipped", reasons=("few",)
        )
        Registry(config.home_path).record_run(record)
        tell({"stage": "SpanExampleGen", "event": "end", "time": 1.0, "seconds": 0.5, "verdict": verdict})
        if verdict == "thin":
            raise ThinError("few")

    return execute


def test_a_thin_span_is_a_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run has seconds and a report like any other, the next span's follows, and it does not wait any more."""
    monkeypatch.setattr(run, "_execute", runs({1: "ok", 2: "thin", 3: "ok"}))
    told: list[dict[str, Any]] = []
    records = run.run_pending(config, on_event=told.append)
    assert [(1, "ok"), (2, "thin"), (3, "ok")] == [(record.span, record.data_verdict) for record in records]
    thin = records[1]
    assert ({"SpanExampleGen": 0.5}, ("few",)) == (thin.seconds, thin.reasons)
    assert "Span 2 is thin" in Path(str(thin.report)).read_text()
    assert ["start", "end", "end"] == [record["event"] for record in told][3:6]
    assert ([], [3]) == (run.waiting(config, again=False), run.waiting(config, again=True))


def test_any_other_error_ends_the_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad data is not a run: the error goes up, and the span waits."""
    monkeypatch.setattr(run, "_execute", runs({1: "ok", 2: "failed"}))
    with pytest.raises(DataError, match="no"):
        run.run_pending(config)
    assert [2, 3] == run.waiting(config, again=False)


def test_a_thin_span_is_an_end_in_the_journal(caplog: pytest.LogCaptureFixture) -> None:
    """The stage ends with its facts; its error rides along, for the runner."""
    with (
        caplog.at_level("INFO", "noria.journal"),
        pytest.raises(ThinError),
        journal.stage("SpanExampleGen") as stage,
    ):
        stage.note(verdict="thin")
        raise ThinError("few")
    last: Any = caplog.records[-1]
    assert ("end", "thin") == (last.journal["event"], last.journal["verdict"])
    assert isinstance(last.error, ThinError)

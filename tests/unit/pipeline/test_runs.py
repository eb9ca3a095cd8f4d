"""The pipeline around a run: replays, what is kept of old runs, and what a failed run leaves. No run trains here."""

import errno
import itertools
import json
import shutil
import time
import types
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from noria.core import files
from noria.core.errors import DataError, NoriaError, SpanError
from noria.pipeline.cli import app
from noria.pipeline.cli.local_run import exit_code, to_json
from noria.pipeline.config import Config, load
from noria.pipeline.runs import overview, replay, run
from noria.stores.publication import Publication
from noria.stores.registry import Registry, RunRecord, run_of
from noria.stores.spans import SpanStore

SETTINGS = """
name: rides
label: late
span: rows:10
window: {first: 1}
retention: 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "noria.yaml").write_text(SETTINGS, encoding="utf-8")
    return load(tmp_path)


def commit(config: Config, *spans: int, **facts: Any) -> None:
    """Spans of one row."""
    for span in spans:
        SpanStore(config.home_path).create(span, [pa.table({"late": [1]})], source="a", **facts)


@pytest.fixture(autouse=True)
def records(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In place of TFX: a run leaves an artifact and its entry in the registry. The spans that it was asked for."""
    asked: list[int] = []

    def execute(
        config: Config, span: int, mode: str, run_id: str, folder: Path, listen: run.Listener
    ) -> None:
        asked.append(span)
        artifact(config, run_id)
        Registry(config.home_path).record_run(RunRecord(span, run_id, data_verdict="ok", mode=mode))

    monkeypatch.setattr(run, "_execute", execute)
    monkeypatch.setattr(run.validator, "start", lambda: None)
    return asked


def artifact(config: Config, run_id: str) -> None:
    """What a run leaves in its folder of artifacts."""
    (config.home_path / "tfx" / run_id / "Trainer" / "model" / "1").mkdir(parents=True)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, stage: str | None = "Trainer") -> None:
    """Runs stop with an error from here on, in a stage or before the first one."""

    def execute(
        config: Config, span: int, mode: str, run_id: str, folder: Path, listen: run.Listener
    ) -> None:
        artifact(config, run_id)
        if stage is not None:
            said = {"stage": stage, "event": "failed", "seconds": 1.0, "error": str(error)}
            listen({"time": time.time(), **said})
        raise error

    monkeypatch.setattr(run, "_execute", execute)


def pages(config: Config) -> list[str]:
    """Names of the pages, without the index."""
    return sorted(path.name for path in (config.home_path / "reports").glob("0*.html"))


def test_the_twin_has_its_run_when_no_span_waits(config: Config, tmp_path: Path, monkeypatch) -> None:
    """After the spans that wait, once; not where the number of runs is used up, and not without `window.twin`."""
    made: list[tuple[int, str]] = []

    def execute(config: Config, span: int, mode: str, run_id: str, *_: object) -> None:
        registry, champion = Registry(config.home_path), Registry(config.home_path).champion()
        mode = mode if mode != "auto" else "warm" if champion else "cold"
        made.append((span, mode))
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "saved_model.pb").write_text(mode)
        found = registry.register(
            {"serving": tmp_path / "model"},
            run_id=run_id,
            span=span,
            mode=mode,
            twin=mode == "twin",
            parent=champion.version if champion else None,
            verdict={"model": {"alarms": [f"of {mode} {span}"]}},
        )
        if mode != "twin":
            found = Publication(registry, config.model_root).publish(found.version)
        registry.record_run(run_of(found))

    monkeypatch.setattr(run, "_execute", execute)
    commit(config, 1, 2, 3)
    run.run_pending(config)
    assert [(1, "cold"), (2, "warm"), (3, "warm")] == made
    settings = (tmp_path / "noria.yaml").read_text()
    (tmp_path / "noria.yaml").write_text(settings.replace("{first: 1}", "{first: 1, twin: 2}"))
    config = load(tmp_path)
    commit(config, 4)
    assert ["warm"] == [each.mode for each in run.run_pending(config, limit=1)]
    runs = run.run_pending(config)
    assert [(4, "twin", "twin")] == [(each.span, each.mode, each.model_verdict) for each in runs]
    assert [] == run.run_pending(config)
    commit(config, 5)
    runs += run.run_pending(config)
    assert (5, "warm") == made[-1]
    # A twin's alarm is none: it says nothing about the version that serves.
    assert (0, 3) == (exit_code(runs[:1]), exit_code(runs))
    assert 3 == exit_code([runs[1], runs[0]])


def test_replay_runs_on_the_history_alone(config: Config, tmp_path: Path, records: list[int]) -> None:
    """Spans up to `last`, and no later ones; newer data of the source is not read."""
    commit(config, 1, 2, 3)
    (tmp_path / "more.csv").write_text("late\n" + "0\n" * 50)
    ahead = config.model_copy(
        update={"data": config.data.model_copy(update={"source": str(tmp_path / "more.csv")})}
    )
    home = tmp_path / "replay"
    assert [1, 2] == [record.span for record in replay.replay(ahead, home, last=2)]
    assert [1, 2] == SpanStore(home).ids()
    assert [] == Registry(config.home_path).runs()
    # It continues; and what waits there beyond `last` still waits.
    replay.replay(ahead, home)
    assert [1, 2, 3] == records
    commit(config, 4, 5)
    replay.link_spans(config.home_path, home, None)
    assert [4] == [record.span for record in replay.replay(ahead, home, last=4)]


def test_replay_takes_later_versions_and_no_quarantine(
    config: Config, tmp_path: Path, records: list[int]
) -> None:
    """A span in quarantine is judged again; its corrected delivery arrives in a replay that has the older version."""
    commit(config, 1, 2)
    SpanStore(config.home_path).quarantine(2, "bad")
    home = tmp_path / "replay"
    replay.replay(config, home)
    assert ([1, 2], {}) == (records, SpanStore(home).quarantined())
    SpanStore(config.home_path).correct(2, [pa.table({"late": [1]})], source="b")
    replay.replay(config, home)
    assert 2 == SpanStore(home).manifest(2).version
    linked = SpanStore(home).manifest(2).folder / "data-00000.parquet"
    assert linked.samefile(SpanStore(config.home_path).manifest(2).folder / "data-00000.parquet")


def test_replay_that_was_killed_goes_on(
    config: Config, tmp_path: Path, records: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two files leaves no half of a span, and the next replay has it whole."""
    commit(config, 1)
    home = tmp_path / "replay"

    def killed(source: Path, target: Path, **_: Any) -> None:
        target.mkdir(parents=True)
        shutil.copy(source / "data-00000.parquet", target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "copy_tree", killed)
        replay.replay(config, home)
    assert [] == SpanStore(home).ids()
    assert [1] == [record.span for record in replay.replay(config, home)]
    SpanStore(home).verify(1)
    assert [] == list((home / "spans").glob(f"{files.STAGING}*"))


@pytest.mark.parametrize(("last", "what"), [(None, "no span to replay"), (3, "no span up to 3 to replay")])
def test_replay_of_nothing(config: Config, tmp_path: Path, last: int | None, what: str) -> None:
    """Without a history the replay says so, not that the config names no source; nor does it run in place."""
    if last is not None:
        commit(config, 4)
    with pytest.raises(SpanError, match=what):
        replay.replay(config, tmp_path / "replay", last=last)
    with pytest.raises(SpanError, match="another home folder"):
        replay.replay(config, config.home_path)


def test_a_failed_run_has_a_page(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page for all tries: where it stopped and why; it goes when a run on the span comes to its end."""
    commit(config, 1)
    told: list[dict[str, Any]] = []
    with monkeypatch.context() as patch:
        for error, stage in ((DataError("first"), "Trainer"), (ValueError("nobody knew"), None)):
            failing(patch, error, stage)
            with pytest.raises(type(error)):
                run.run_pending(config, on_event=told.append)
            assert ["00000001-failed.html"] == pages(config)
            path = config.home_path / "reports" / "00000001-failed.html"
            page = path.read_text(encoding="utf-8")
            assert f"The run stopped in {stage or 'the run'}" in page
            assert ("first" if stage else "ValueError: nobody knew") in page
            assert told[-1] == {"stage": "Run", "event": "failed", "span": 1, "report": str(path)}
            assert path.name in (path.parent / "index.html").read_text(encoding="utf-8")
    (record,) = run.run_pending(config)
    assert [Path(str(record.report)).name] == pages(config)
    assert "failed.html" not in (path.parent / "index.html").read_text(encoding="utf-8")


def test_report_finds_the_failed_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """`noria report` prints the page of the newest run, or of the newest one on a span, failed or not."""
    commit(config, 1)
    (good,) = run.run_pending(config)
    commit(config, 2)
    failing(monkeypatch, DataError("no"))
    with pytest.raises(DataError):
        run.run_pending(config)
    for arguments, name in (([], "00000002-failed.html"), (["1"], Path(str(good.report)).name)):
        done = CliRunner().invoke(app.app, ["report", *arguments, "--json", "-c", str(config.path)])
        assert str(config.home_path / "reports" / name) == json.loads(done.stdout)["report"]
    assert 1 == CliRunner().invoke(app.app, ["report", "3", "-c", str(config.path)]).exit_code


@pytest.mark.parametrize(
    ("error", "free", "what"),
    [
        (OSError(errno.ENOSPC, "full", "here"), 2**30, "stopped: No space left on device"),
        (OSError(errno.EACCES, "no right", "here"), 2**30, "stopped: Permission denied"),
        (RuntimeError("InternalError: database or disk is full"), 2**30, "No space left on device"),
        (RuntimeError("InternalError: whatever"), 2**19, "No space left on device"),
        (DataError("no"), 2**19, "no"),
    ],
)
def test_a_full_disk_is_no_bug(
    config: Config, monkeypatch: pytest.MonkeyPatch, error: Exception, free: int, what: str
) -> None:
    """A full disk and a missing right end a run in words, also where a library has its own error for it."""
    commit(config, 1)
    failing(monkeypatch, error)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**40, 2**40 - free, free))
    with pytest.raises(NoriaError, match=what) as caught:
        run.run_pending(config)
    assert caught.value.next_step is not None or isinstance(error, DataError)


def test_what_is_a_bug_stays_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file is not a full disk: the error is raised unchanged."""
    commit(config, 1)
    for error in (FileNotFoundError(errno.ENOENT, "no file", "x"), ZeroDivisionError("x")):
        failing(monkeypatch, error)
        with pytest.raises(type(error)):
            run.run_pending(config)


def test_reports_that_cannot_be_written(config: Config) -> None:
    """A file where the reports' folder should be is reported as in the way."""
    commit(config, 1)
    (config.home_path / "reports").write_text("")
    with pytest.raises(SpanError, match="the report of span 1 cannot be written") as caught:
        run.run_pending(config)
    assert caught.value.next_step


def test_old_artifacts_go(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs the newest `retention` stay; of failed ones the last: a failing schedule fills no disk."""
    numbers = itertools.count()  # run ids sort by second, and these runs take less
    monkeypatch.setattr(uuid, "uuid4", lambda: types.SimpleNamespace(hex=f"{next(numbers):06d}"))
    commit(config, 1, 2, 3)
    made = [record.run_id for record in run.run_pending(config)]
    folder = config.home_path / "tfx"
    assert set(made[-2:]) == {path.name for path in folder.iterdir()}
    commit(config, 4)
    with monkeypatch.context() as patch:
        failing(patch, DataError("no"))
        for _ in range(3):
            with pytest.raises(DataError):
                run.run_pending(config)
    kept = {path.name for path in folder.iterdir()}
    assert set(made[-2:]) < kept and 3 == len(kept)
    (last,) = run.run_pending(config)
    assert {made[-1], last.run_id} == {path.name for path in folder.iterdir()}


def test_a_home_that_was_moved(config: Config, tmp_path: Path) -> None:
    """A volume that is mounted elsewhere: reports and model folders are named where they are, not where they were."""
    commit(config, 1)
    run.run_pending(config)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("a model")
    registry = Registry(config.home_path)
    made = registry.register({"serving": tmp_path / "model"}, run_id="r", span=1)
    Publication(registry, config.model_root).publish(made.version)
    moved = config.moved_to(config.home_path.rename(tmp_path / "elsewhere"))
    found = overview.read(moved)
    assert found.champion is not None
    assert Path(str(found.runs[0].report)).is_file()
    for version in (found.champion, *found.versions):
        assert str(moved.model_root / "1") == version.model_dir
        assert Path(version.model_dir, "saved_model.pb").is_file()
    assert str(moved.model_root / "1") == to_json(moved, [])["model_dir"]

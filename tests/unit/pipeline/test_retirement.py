"""`noria retire`: rows that nothing needs are deleted, and no row of them comes in again, whatever is killed."""

import dataclasses
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from noria.components.statistics_cache import StatisticsCache
from noria.core import files
from noria.core.errors import DataError, SpanError
from noria.core.locks import hold
from noria.ingestion.segments import stream_letters
from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline import retirement
from noria.pipeline.cli.app import app
from noria.pipeline.config import Config
from noria.pipeline.retirement import Retirement, retire
from noria.pipeline.runs import overview, run
from noria.pipeline.runs.ingest import ingest
from noria.stores.recovery import retain
from noria.stores.registry import Registry, RunRecord
from noria.stores.spans import SpanStore
from tests.helpers.killed import killed_at
from tests.unit.ingestion.streams.scripted import START, Scripted, Topic, event, ids, ingester, spans

# Of the steps at which a process can be killed, one of so many is tested; 1 tests all.
STRIDE = int(os.environ.get("NORIA_KILL_STRIDE", "37"))
SETTINGS = {
    "name": "m",
    "label": {"column": "y", "classes": [0, 1]},
    "time": "at",
    "span": "hour",
    "window": {"first": 2, "cold": 3, "replay_spans": 2},
    "retention": 2,
}


def _config(folder: Path, **more: Any) -> Config:
    return Config.read({**SETTINGS, **more}, folder / "noria.yaml")


def _hours(first: int, end: int, **more: Any) -> list[bytes]:
    """Four events in each hour."""
    return [event(i, i / 4, **more) for i in range(4 * first, 4 * end)]


def _made(folder: Path) -> Config:
    """Twenty spans of four rows, each with a run; versions of spans 2, 3, 18 and 19; span 5 is in quarantine."""
    config = _config(folder)
    home = config.home_path
    topic = Topic()
    topic.add(0, *_hours(0, 20))
    ingester(home, Scripted(topic)).run(flush=True)
    registry = Registry(home)
    files.write_text(folder / "model" / "saved_model.pb", "model")
    for span in SpanStore(home).ids():
        if span in (2, 3, 18, 19):
            spans = (span - 1, span)
            payload = {"serving": folder / "model"}
            registry.register(payload, run_id=f"r{span}", span=span, spans=spans, verdict={})
        if span > 1:
            verdicts = ("broken", "skipped") if span == 5 else ("ok", "blessed")
            registry.record_run(RunRecord(span, f"r{span}", None, *verdicts))
        name = f"statistics/{span:08d}-v0001-abcdefabcdef"
        key = {"span": span, "version": 1, "schema": "abcdefabcdef", "content": "", "fingerprint": {"": "4"}}
        files.write_text(home / name / "key.json", json.dumps(key))
        files.write_text(home / name / "FeatureStats.pb", "")
        files.write_text(home / f"analyzer_cache/code/span-{span:08d}-abc/MANIFEST", "")
    SpanStore(home).quarantine(5, "broken")
    return config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    _made(folder)
    return folder


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    return _copy(made, tmp_path / "copy")


def _copy(made: Path, folder: Path) -> Config:
    shutil.copytree(made, folder)
    return _config(folder)


def _retire(config: Config, **more: Any) -> Retirement:
    return retire(config, **{"reason": "full disk", "actor": "carol", **more})


def _stream(config: Config) -> Topic:
    """The stream, at the position that is stored."""
    topic = Topic()
    topic.end[0] = SegmentStore(config.home_path).state().next[0]
    return topic


def test_what_nothing_needs_is_deleted(config: Config) -> None:
    """Rows, statistics and accumulators go; manifests and fingerprints stay; what is needed is as it was."""
    store, home = SpanStore(config.home_path), config.home_path
    before = spans(home)
    done = _retire(config)
    gone = [4, *range(6, 13)]  # 1 to 3, 18 and 19 by versions, 5 in quarantine, 13 to 20 by the gate's memory
    assert (tuple(gone), 32, True) == (done.spans, done.rows, done.done)
    assert {"versions": (1, 2, 3), "in quarantine": (5,), "the window": tuple(range(13, 21))} == done.kept
    assert {span: rows for span, rows in before.items() if span not in gone} == spans(home)
    assert list(range(1, 21)) == store.ids(retired=True) and set(gone) == store.retired()
    assert 4 == store.manifest(4).rows and [] == list(store.manifest(4).folder.glob("*.parquet"))
    cached = {each.span: each for each in StatisticsCache(home).all()}
    assert list(range(1, 21)) == list(cached) and {"": "4"} == cached[4].fingerprint
    assert gone == [span for span, each in cached.items() if not each.path.exists()]
    kept = sorted(int(path.name[5:13]) for path in home.glob("analyzer_cache/code/*"))
    assert store.ids() == kept
    assert [] == list(_retire(config).spans)


def test_a_version_that_expires_releases_its_spans(config: Config) -> None:
    """What `retention` has deleted is no longer rolled back to."""
    retain(Registry(config.home_path), 2, config.model_root)
    assert (1, 2, 3, 4, *range(6, 13)) == _retire(config).spans


def test_what_the_config_or_a_person_keeps(config: Config) -> None:
    """The newest spans stay; the registry and `noria status` tell what was retired, when, why and by whom."""
    assert (4, *range(6, 11)) == _retire(config, keep=10).spans
    [*_, begun, end] = [each for _, each in Registry(config.home_path).log.after(0)]
    assert ("retiring", "spans_retired") == (begun["kind"], end["kind"])
    assert ("full disk", "carol", 24) == (begun["reason"], begun["actor"], begun["rows"])
    state = Registry(config.home_path).state()
    assert state.retiring is None and [4, *range(6, 11)] == (state.retirement or {})["spans"]
    found = overview.read(config)
    assert [4, *range(6, 11)] == found.to_json()["retired"] and 4 not in found.spans
    with pytest.raises(SpanError, match="span 4 is retired"):
        SpanStore(config.home_path).table(4)


def test_a_run_retires(config: Config) -> None:
    """With `data.keep_spans`, after its spans, also where none waits; without it, a run deletes nothing."""
    told: list[dict[str, Any]] = []
    run.run_pending(config, on_event=told.append)
    assert set() == SpanStore(config.home_path).retired()
    run.run_pending(_config(config.folder, data={"keep_spans": 10}), on_event=told.append)
    assert {4, *range(6, 11)} == SpanStore(config.home_path).retired()
    [note] = [each for each in told if each["stage"] == "Retire"]
    assert ((4, *range(6, 11)), 24) == (note["spans"], note["rows"])


def test_a_stream_continues(config: Config) -> None:
    """Positions stay; a late event of a retired span is a dead letter, once, one of another span comes in."""
    _retire(config)
    home = config.home_path
    left = ids(home)
    topic = _stream(config)
    topic.add(0, event(901, 5.5), event(902, 0.5), event(903, 20.1), event(904, 21.1))
    ingester(home, Scripted(topic)).run()
    ingester(home, Scripted(topic)).run(flush=True)
    assert sorted([*left, 902, 903, 904]) == ids(home)
    [letter] = stream_letters.letters(SegmentStore(home))
    assert 901 == json.loads(letter["value"])["id"]
    assert "column 'at': comes too late: span 6 is retired" == letter["reason"]


def test_late_events_into_the_next_span(config: Config) -> None:
    """There they come in, because no old span is written."""
    _retire(config)
    topic = _stream(config)
    topic.add(0, event(901, 5.5), event(903, 20.1))
    ingester(config.home_path, Scripted(topic), into_next=True).run(flush=True)
    assert [901, 903] == spans(config.home_path)[21]


def test_events_that_are_in_a_span_are_no_dead_letters(tmp_path: Path) -> None:
    """A segment may wait for another span while the spans of its other events are retired."""
    config = _config(tmp_path)
    home = config.home_path
    topic = Topic()
    topic.add(0, *_hours(0, 2), *(event(i, 2.1) for i in range(8, 48)))
    ingester(home, Scripted(topic)).run()
    assert [1, 2] == SpanStore(home).ids() and 1 == len(SegmentStore(home).pending())
    SpanStore(home).retire([1])
    ingester(home, Scripted(topic)).run(flush=True)
    assert [*range(4, 48)] == ids(home)
    assert [] == stream_letters.letters(SegmentStore(home))


@pytest.mark.parametrize("every", ["hour", "rows:4"])
def test_a_file_that_has_the_old_rows_again(tmp_path: Path, every: str) -> None:
    """A file that has grown still has the rows of retired spans; none of them comes in again, and new ones do."""
    rows = [f"{i},{START + i * 900},{i % 2}" for i in range(100)]

    def deliver(count: int) -> dict[str, Any]:
        (tmp_path / "a.csv").write_text("\n".join(["id,at,y", *rows[:count], ""]))
        return ingest(config, lambda record: None)

    config = _config(tmp_path, span=every, data={"source": "a.csv"})
    home = config.home_path
    deliver(80)
    for span in SpanStore(home).ids():
        Registry(home).record_run(RunRecord(span, f"r{span}", model_verdict="blessed"))
    assert tuple(range(1, 13)) == _retire(config).spans
    assert 0 == ingest(config, lambda record: None)["rows"]
    grown = deliver(100)
    assert (20, [*range(21, 26)]) == (grown["rows"], [*grown["spans"]])
    assert [*range(48, 100)] == ids(home)
    assert (every == "hour") == any(
        "rows of 12 retired spans (from 1 to 12)" in each for each in grown["notes"]
    )
    assert 0 == ingest(config, lambda record: None)["rows"]


def test_rows_of_a_database(tmp_path: Path) -> None:
    """Copies of rows whose spans are retired go, but never the position; nothing is copied or ingested again."""
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("CREATE TABLE rides (id INTEGER, y INTEGER)")
    source = {"sql": {"url": f"sqlite:///{tmp_path}/a.db", "table": "rides", "cursor": "id"}}
    config = _config(tmp_path, time={}, span="rows:10", data={"source": source})
    for first in (0, 60, 100):
        database.executemany(
            "INSERT INTO rides VALUES (?, ?)", [(i, i % 2) for i in range(first, first + 60)]
        )
        database.execute("DELETE FROM rides WHERE id >= ?", [{0: 60, 60: 100}.get(first, 160)])
        database.commit()
        ingest(config, lambda record: None)
    home = config.home_path
    for span in SpanStore(home).ids():
        Registry(home).record_run(RunRecord(span, f"r{span}", model_verdict="blessed"))
    assert 3 == len(list(home.glob("landing/*.parquet")))
    assert tuple(range(1, 9)) == _retire(config).spans
    assert ["000002.parquet", "000003.parquet"] == sorted(
        path.name for path in home.glob("landing/*.parquet")
    )
    database.execute("INSERT INTO rides VALUES (160, 0)")
    database.commit()
    assert 1 == ingest(config, lambda record: None)["rows"]
    assert [*range(80, 161)] == ids(home)


def test_before_the_first_run_nothing_is_retired(tmp_path: Path) -> None:
    config = _config(tmp_path)
    topic = Topic()
    topic.add(0, *_hours(0, 20))
    ingester(config.home_path, Scripted(topic)).run(flush=True)
    assert () == _retire(config).spans


def test_spans_that_wait_keep_their_window(config: Config) -> None:
    """A run on an old span, such as one that has left quarantine, takes the spans that were trained on after it."""
    SpanStore(config.home_path).unquarantine(5)
    assert (5,) == _retire(config).kept["waiting"]


def test_a_dry_run_changes_nothing(config: Config) -> None:
    """It tells the same as the command, and no byte of the home changes."""
    before = _content(config.home_path)
    found = retire(config, actor="carol", dry_run=True)
    assert before == _content(config.home_path)
    assert dataclasses.replace(found, done=True) == _retire(config)
    assert {"spans", "statistics", "analyzer cache"} == {change.store for change in found.changes}


def test_a_kill_anywhere(made: Path, tmp_path: Path) -> None:
    """Whatever step it is killed at, spans are whole or retired, and the command again leaves what one leaves."""
    whole = _copy(made, tmp_path / "whole")
    before = spans(whole.home_path)
    _retire(whole)
    expected, n = _content(whole.home_path), 1
    while True:
        project = _copy(made, tmp_path / str(n))
        was_killed = killed_at(n, project.folder, lambda project=project: _retire(project))
        home = project.home_path
        readable = spans(home)
        assert readable == {span: before[span] for span in readable}, f"step {n}"
        _retire(project)
        assert expected == _content(home), f"step {n}"
        kinds = [event["kind"] for _, event in Registry(home).log.after(0)]
        assert 1 == kinds.count("retiring") == kinds.count("spans_retired"), f"step {n}"
        if not was_killed:
            break
        shutil.rmtree(project.folder)
        n += STRIDE
    assert 50 < n < 1_000


def test_whoever_holds_the_home_next_finishes_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `noria run` does; a person who gives no reason is refused."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SpanStore, "retire", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _retire(config)
    with hold(config.home_path):
        assert retirement.finish(config) and not retirement.finish(config)
    assert {4, *range(6, 13)} == SpanStore(config.home_path).retired()
    with pytest.raises(DataError, match="needs a reason"):
        _retire(config, reason=" ")


def test_the_command(config: Config) -> None:
    """It says what it deletes, what stays and why; status tells it afterwards."""
    (config.folder / "noria.yaml").write_text(json.dumps(SETTINGS))

    def output(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--config", str(config.folder)])
        assert 0 == done.exit_code, done.output
        return " ".join(done.output.split())

    shown = output("retire", "--dry-run")
    assert "spans spans/00000004/v0001: 4 rows" in shown and "kept, in quarantine: 5" in shown
    assert "8 spans (4, 6-12) would be retired: 32 rows" in shown
    assert "8 spans (4, 6-12) retired: 32 rows" in output("retire", "--reason", "full disk")
    assert "no span can be retired" in output("retire", "--reason", "full disk")
    assert "12 spans (1-3, 5, 13-20), retired: 4, 6-12" in output("status")
    assert json.loads(output("status", "--json"))["retired"] == [4, *range(6, 13)]


def _content(home: Path) -> dict[str, str]:
    """All files by content, without the registry's times."""
    found = files.tree_digests(home)
    return {
        name: each for name, each in found.items() if not name.startswith("registry/") and "lock" not in name
    }

"""`noria forget`: no row of the key is left anywhere, all others stay, whatever step the process is killed at."""

import base64
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from noria.core import files
from noria.core.locks import hold
from noria.ingestion.landing import Landing
from noria.ingestion.segments import stream_letters
from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline.cli.app import app
from noria.pipeline.config import Config
from noria.pipeline.forgetting import Forgotten, Keys, finish, forget, in_dead_letters
from noria.pipeline.runs.ingest import ingest
from noria.pipeline.runs.replay import link_spans
from noria.serving.prediction_log import PredictionLog
from noria.serving.tensors import Tensor
from noria.stores.publication import Publication
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from tests.helpers.killed import killed_at
from tests.unit.ingestion.streams.scripted import Scripted, Topic, event, ingester, spans

# Of the 346 steps at which a process can be killed, one of so many is tested; 1 tests all.
STRIDE = int(os.environ.get("NORIA_KILL_STRIDE", "61"))
ANN = Keys.read(["who=ann"])
WHO = ("ann", "bob", "cem", "dee", "eve")


def _config(folder: Path, **more: Any) -> Config:
    settings = {
        "name": "m",
        "label": {"column": "y", "classes": [0, 1]},
        "time": "at",
        "span": "hour",
        **more,
    }
    return Config.read(settings, folder / "noria.yaml")


def _made(folder: Path) -> Config:
    """A home that has all kinds of files: the rows of `ann` are those with an id that ends with 0 or 5."""
    config = _config(folder)
    home = config.home_path
    topic = Topic()
    topic.add(
        0, *(event(i, i / 10, who=WHO[i % 5]) for i in range(25)), b'{"who": "ann", "y": ', b'{"who": "bob"'
    )
    ingester(home, Scripted(topic)).run()
    late = [event(i, i / 100, who=WHO[i % 5]) for i in range(30, 40)]
    topic.add(0, *late, *(event(i, i / 10, who=WHO[i % 5]) for i in range(40, 45)))
    ingester(home, Scripted(topic)).run()
    topic.add(0, *(event(i, 4.9, who=WHO[i % 5]) for i in range(45, 55)), b'["ann"]', b'["bob"]')
    ingester(home, Scripted(topic)).run()
    home.joinpath("dead-letters", "a.csv-1.jsonl").write_text(
        "".join(
            json.dumps({"file": "a.csv", "row": i, "raw": f"{i},{who},1"}) + "\n" for i, who in enumerate(WHO)
        )
    )
    landing = Landing(home / "landing", "rides", "id", {})
    landing.append([(["id", "who"], [(i, WHO[i % 5]) for i in range(10)])])
    for name in ("statistics/00000001-v0001-abcdefabcdef", "statistics/00000099-v0001-abcdefabcdef"):
        files.write_text(home / name / "key.json", "{}")
    files.write_text(home / "analyzer_cache/code/span-00000001-abc/MANIFEST", "ann")
    files.write_text(home / "tfx/run/examples/data", "ann")
    log = PredictionLog(home / "predictions")
    for who in WHO:
        log.add("m", 1, "predict", {"who": Tensor("string", (1,), [who.encode()])}, {})
    log.close()
    link_spans(home, home / "replays" / "r", None)
    files.write_text(folder / "model" / "saved_model.pb", "model")
    registry = Registry(home)
    registry.register({"serving": folder / "model"}, run_id="r1", span=1, spans=(1,), verdict={})
    registry.register({"serving": folder / "model"}, run_id="r2", span=99, spans=(99,), verdict={})
    Publication(registry, config.model_root).publish(1)
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


def _tables(folder: Path) -> Iterator[tuple[Path, pa.Table]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _is_parquet(path):
            yield path, pq.read_table(path)


def _is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, whatever its name."""
    return path.read_bytes()[:4] == b"PAR1"


def _left(home: Path) -> list[str]:
    """Files of the home that have something of `ann`: values of Parquet files, and all others by their bytes."""
    found = []
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        data = str(pq.read_table(path).to_pylist()).encode() if _is_parquet(path) else path.read_bytes()
        if b"ann" in data:
            found.append(path.relative_to(home).as_posix())
    return found


def _others(home: Path) -> dict[str, Any]:
    """The rows of all others, store by store."""
    segments = SegmentStore(home)
    letters_of = sorted(home.joinpath("dead-letters").glob("*.jsonl"))
    rows = [row for each in segments.pending() for batch in each.read() for row in batch.to_pylist()]
    store = SpanStore(home)
    versions = [(1, 1), (1, 2), *((span, 1) for span in store.ids()[1:])]
    log = [table for path, table in _tables(home / "predictions")]
    return {
        "spans": {
            each: [
                row
                for batch in store.read(each[0], version=each[1], verify=True)
                for row in batch.to_pylist()
                if row["who"] != "ann"
            ]
            for each in versions
        },
        "segments": [row for row in rows if row["who"] != "ann"],
        "letters": [
            line for each in letters_of for line in each.read_text().splitlines() if "ann" not in line
        ],
        "replayed": spans(home / "replays" / "r").keys(),
        "predictions": [row for table in log for row in table.to_pylist() if "ann" not in row["columns"]],
        "state": segments.state().next,
    }


def test_all_of_a_key_is_gone(config: Config) -> None:
    """No file has anything of it; the rows of others are as they were; manifests count what is left."""
    before, home = _others(config.home_path), config.home_path
    assert 12 < len(_left(home))
    done = _forget(config)
    assert [] == _left(home)
    assert before == _others(home)
    # Spans 1 to 5 and a second version of span 1, each in the home and in the replay.
    assert {"spans", "segments", "dead letters", "landing", "tables"} == set(done.rows)
    assert (1, 2) == (done.versions[0], len(Registry(home).versions()))
    first = SpanStore(home).manifest(1, 2)
    assert first.rows == sum(first.labels.values()) == SpanStore(home).table(1).num_rows
    assert first.extra["forgotten"] == before["spans"][1, 1][-1]["id"] // 5 + 1 + 2
    times = SpanStore(home).table(1)["at"].to_pylist()
    assert (min(times), max(times)) == first.event_time
    assert not (home / "statistics/00000001-v0001-abcdefabcdef").exists()
    assert (home / "statistics/00000099-v0001-abcdefabcdef").exists()
    assert not (home / "tfx/run").exists()
    events = [event for _, event in Registry(home).log.after(0)]
    assert ["forgetting", "forgotten"] == [event["kind"] for event in events][-2:]
    assert ("ticket 7", "carol", ["who"], 1) == tuple(
        events[-2][name] for name in ("reason", "actor", "columns", "keys")
    )


def test_the_stream_continues_after_it(config: Config) -> None:
    """What waited in segments comes into spans without the key's events, and nothing is in twice."""
    _forget(config)
    topic = Topic()
    topic.end[0] = SegmentStore(config.home_path).state().next[0]
    ingester(config.home_path, Scripted(topic)).run(flush=True)
    found = [each for ids in spans(config.home_path).values() for each in ids]
    assert [i for i in range(55) if i % 5 and not 25 <= i < 30] == sorted(found)
    assert ["bob" in each["value"] for each in stream_letters.letters(SegmentStore(config.home_path))] == [
        True,
        True,
    ]


def test_a_kill_anywhere(made: Path, tmp_path: Path) -> None:
    """Whatever step it is killed at, the command again leaves nothing of the key, all others, and one record."""
    expected, n = _others(made / "home"), 1
    while True:
        project = _copy(made, tmp_path / str(n))
        was_killed = killed_at(n, project.folder, lambda project=project: _forget(project))
        done = _forget(project)
        home = project.home_path
        assert [] == _left(home), f"step {n}"
        assert expected == _others(home), f"step {n}"
        kinds = [event["kind"] for _, event in Registry(home).log.after(0)]
        assert 1 <= kinds.count("forgetting") == kinds.count("forgotten") <= 2, f"step {n}"
        if not was_killed:
            break
        assert (True, (1,)) == (done.done, done.versions), f"step {n}"
        shutil.rmtree(project.folder)
        n += STRIDE
    assert 200 < n < 3_000


def test_a_run_finishes_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was interrupted is finished by whoever holds the home next."""
    with monkeypatch.context() as patch:
        patch.setattr(SpanStore, "remove_rows", _interrupted(SpanStore.remove_rows))
        with pytest.raises(KeyboardInterrupt):
            _forget(config)
    assert [] != _left(config.home_path)
    with hold(config.home_path):
        assert finish(config) is not None and finish(config) is None
    assert [] == _left(config.home_path)


def test_a_dry_run_changes_nothing(config: Config) -> None:
    """It lists the same stores and rows, and no byte of the home changes."""
    before = _digests(config.home_path)
    found = forget(config, ANN, reason="", actor="carol", dry_run=True)
    assert before == _digests(config.home_path)
    done = _forget(config)
    assert (found.rows, found.spans, found.versions) == (done.rows, done.spans, done.versions)
    assert (False, True) == (found.done, done.done)
    assert {} == _forget(config).rows


def test_spans_of_rows_count_from_the_first_row_of_a_segment(tmp_path: Path) -> None:
    """Rows that wait keep their place behind those that are in a span, also if both lose some."""
    config = _config(tmp_path, time={}, span="rows:20")
    settings = config.event_settings()
    topic = Topic()
    topic.add(0, *(event(i, 0, who=WHO[i % 5]) for i in range(55)))
    ingester(config.home_path, Scripted(topic), settings).run()
    assert [1, 2] == SpanStore(config.home_path).ids()
    _forget(config)
    assert [] == _left(config.home_path)
    topic.add(0, *(event(i, 0, who="bob") for i in range(55, 63)))
    ingester(config.home_path, Scripted(topic), settings).run()
    left = {1: [i for i in range(20) if i % 5], 2: [i for i in range(20, 40) if i % 5]}
    assert {**left, 3: [*(i for i in range(40, 55) if i % 5), *range(55, 63)]} == spans(config.home_path)


def test_a_span_without_rows_stays(tmp_path: Path) -> None:
    """Its id is not given again, and readers get its columns."""
    config = _config(tmp_path, time={}, span="rows:2", data={"source": "a.csv"})
    (tmp_path / "a.csv").write_text("who,y\nann,0\nann,1\nbob,0\ncem,1\n")
    ingest(config, lambda record: None)
    _forget(config)
    store = SpanStore(config.home_path)
    assert (["who", "y"], 0) == (store.table(1).column_names, store.table(1).num_rows)
    assert ([1, 2], {"0": 0, "1": 0, "unlabelled": 0}) == (store.ids(), store.manifest(1).labels)
    store.verify(1)
    assert 0 == ingest(config, lambda record: None)["rows"]


def test_rows_of_a_database(tmp_path: Path) -> None:
    """A copied row goes; the next run neither copies it again nor ingests the others twice."""
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("CREATE TABLE rides (id INTEGER, who TEXT, y INTEGER)")
    rows = [(i, WHO[i % 5], i % 2) for i in range(1, 31)]
    database.executemany("INSERT INTO rides VALUES (?, ?, ?)", rows)
    database.commit()
    source = {"sql": {"url": f"sqlite:///{tmp_path}/a.db", "table": "rides", "cursor": "id"}}
    config = _config(tmp_path, time={}, span="rows:10", data={"source": source})
    ingest(config, lambda record: None)
    database.execute("DELETE FROM rides WHERE who = 'ann'")
    _forget(config)
    assert [] == _left(config.home_path)
    database.execute("INSERT INTO rides VALUES (31, 'bob', 0)")
    database.commit()
    assert 1 == ingest(config, lambda record: None)["rows"]
    assert [i for i in range(1, 32) if i % 5] == [
        each for ids in spans(config.home_path).values() for each in ids
    ]


def test_keys_of_a_file(tmp_path: Path) -> None:
    """Each line of a file is a key; with several columns, a row must have all values. Numbers are compared as such."""
    path = tmp_path / "keys.csv"
    path.write_text("who,n\nann,42\nbob,7.0\n")
    keys = Keys.read(["z=007"], path)
    columns = {"who": ["ann", "ann", "bob", None], "n": [42, 41, 7, 7]}
    [batch] = pa.table({**columns, "z": ["7", "x", "7", "007"]}).to_batches()
    assert [True, False, True, True] == keys.rows(batch).tolist()
    [floats] = pa.table({**columns, "n": [42.0, None, 7.5, 7.0]}).to_batches()
    assert [True, False, False, False] == keys.rows(floats).tolist()
    assert keys == Keys.from_json(json.loads(json.dumps(keys.to_json())))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ('{"n": 42}', True),
        ('{"n": "42", "m": 1}', True),
        ('{"n": 41, "m": 42}', False),
        ('{"m": 42}', True),
        ("1,42,x", True),
        ("1,142,4.42,42.5,x42", False),
        ("not json: 42", True),
    ],
)
def test_a_key_in_what_could_not_be_read(text: str, held: bool) -> None:
    """In a known column the value decides; elsewhere a key is looked for as a whole word."""
    keys = Keys.read(["n=42"])
    assert held == in_dead_letters.holds({"value": text}, keys)
    assert held == in_dead_letters.holds({"base64": base64.b64encode(text.encode()).decode()}, keys)
    assert held == in_dead_letters.holds({"raw": text}, keys)


def test_the_command(config: Config) -> None:
    """It says what it removed; it refuses an unknown column, no reason and no key, and a home that is in use."""
    (config.folder / "noria.yaml").write_text("name: m\nlabel: y\ntime: at\nspan: hour\n")
    option = ["--config", str(config.folder)]

    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["forget", *arguments, *option])
        assert 1 == result.exit_code, result.output
        return " ".join(result.stderr.split())

    assert "no column 'woh', only: id, at, y, who" in refused("--key", "woh=ann", "--reason", "r")
    assert "needs a reason" in refused("--key", "who=ann")
    assert "no key was given" in refused("--reason", "r")
    assert "must be COLUMN=VALUE" in refused("--key", "ann", "--reason", "r")
    arguments = ["forget", "--key", "who=ann", "--reason", "ticket 7", "--json", *option]
    done = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert (True, [1], []) == (done["done"], done["versions"], done["warmups"])
    again = CliRunner().invoke(app, ["forget", "--key", "who=ann", "--reason", "r", *option])
    assert "no row holds the key" in again.stdout


def _digests(home: Path) -> dict[str, str]:
    return {name: digest for name, digest in files.tree_digests(home).items() if "lock" not in name}


def _forget(config: Config) -> Forgotten:
    return forget(config, ANN, reason="ticket 7", actor="carol")


def _interrupted(work: Any) -> Any:
    """A method that works, and is then interrupted if it has changed something."""

    def interrupted(*arguments: Any, **named: Any) -> Any:
        found = work(*arguments, **named)
        if not named["only_find"]:
            raise KeyboardInterrupt
        return found

    return interrupted

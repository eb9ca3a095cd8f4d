"""SpanExampleGen on real Parquet spans: same rows in process and in Beam, and nothing lost on the way."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor  # noqa: E402
from tfx.types import standard_artifacts  # noqa: E402

from noria.components import example_file, execution  # noqa: E402
from noria.components.artifacts import Twin, known_since, twin_of  # noqa: E402
from noria.components.champion.executor import Executor as ChampionExecutor  # noqa: E402
from noria.components.example_gen.executor import Executor  # noqa: E402
from noria.core.errors import DataError, SpanError, ThinError  # noqa: E402
from noria.stores.pending import pending  # noqa: E402
from noria.stores.publication import Publication  # noqa: E402
from noria.stores.registry import Registry, RunRecord, run_of  # noqa: E402
from noria.stores.spans import SpanStore  # noqa: E402


def _events(span: int, rows: int = 2000) -> pa.Table:
    generator = np.random.default_rng(span)
    ids = np.arange(rows) + span * rows
    return pa.table(
        {
            "id": ids,
            "carrier": pa.array(generator.choice(["UA", "AA", "é"], rows), mask=generator.random(rows) < 0.1),
            "distance": pa.array(generator.normal(size=rows), mask=generator.random(rows) < 0.1),
            "late": pa.array(generator.integers(0, 2, rows), mask=generator.random(rows) < 0.05),
        }
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    store = SpanStore(tmp_path / "home")
    for span in (1, 2, 3):
        store.create(span, [_events(span)], source="test")
    return tmp_path / "home"


def _run(home: Path, out: Path, version: int | None = None, since: int | None = None, **changes):
    champion, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    champion.uri, examples.uri = str(out / "champion"), str(out / "examples")
    champion.set_string_custom_property("state", "absent" if version is None else "present")
    champion.set_int_custom_property("version", version or 0)
    if version is not None:
        (out / "champion").mkdir(parents=True, exist_ok=True)
        (out / "champion" / "version.json").write_text(json.dumps({"since": since}))
    properties = {
        "home": str(home),
        "run_id": "run-1",
        "span": "3",
        "mode": "auto",
        "label": "late",
        "window": json.dumps({"cold": 2, "replay": 0.3, "key": ["id"]}),
        "execution": "auto",
    }
    executor = Executor(BaseBeamExecutor.Context(tmp_dir=str(out / "tmp"), unique_id="1"))
    executor.Do({"champion": [champion]}, {"examples": [examples]}, {**properties, **changes})
    return examples


def _rows(examples, split: str) -> dict[str, list[bytes]]:
    files = sorted(Path(examples.uri, f"Split-{split}").iterdir())
    return {
        path.name: sorted(tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator())
        for path in files
    }


def test_beam_writes_the_same_rows(home: Path, tmp_path: Path):
    """Both paths write the same files with the same tf.Examples."""
    here, beam = _run(home, tmp_path / "a"), _run(home, tmp_path / "b", execution="beam")
    for split in ("train", "eval"):
        # The encoder may order a message's fields either way; the messages are compared.
        first, second = (
            {name: sorted(map(_text, rows)) for name, rows in _rows(each, split).items()}
            for each in (here, beam)
        )
        assert first == second
    rows = [each.get_string_custom_property("rows") for each in (here, beam)]
    assert json.loads(rows[0]) == json.loads(rows[1])


def _text(serialized: bytes) -> str:
    features = tf.train.Example.FromString(serialized).features.feature
    return repr(sorted((name, str(features[name])) for name in features))


def test_cold_window_holds_whole_spans(home: Path, tmp_path: Path):
    """A cold run's files: one per span and split, eval from the newest only; all rows accounted for."""
    examples = _run(home, tmp_path / "a")
    train, evaluated = _rows(examples, "train"), _rows(examples, "eval")
    assert ["span-00000002-00000-of-00001.gz", "span-00000003-00000-of-00001.gz"] == list(train)
    assert ["span-00000003-00000-of-00001.gz"] == list(evaluated)
    newest = SpanStore(home).table(3)
    counted = json.loads(examples.get_string_custom_property("rows"))
    assert len(train["span-00000003-00000-of-00001.gz"]) + counted["eval"] + counted["unlabelled"] == len(
        newest
    )
    assert ("cold", 3, "[2, 3]") == (
        examples.get_string_custom_property("mode"),
        examples.span,
        examples.get_string_custom_property("spans"),
    )


def test_warm_window_replays(home: Path, tmp_path: Path):
    """With a champion: the newest span whole, and a sample of the older ones in files named replay."""
    examples = _run(home, tmp_path / "a", version=4)
    train = _rows(examples, "train")
    stems = [name.removesuffix("-00000-of-00001.gz") for name in train]
    assert ["replay-00000001", "replay-00000002", "span-00000003"] == stems
    counted = json.loads(examples.get_string_custom_property("rows"))
    assert 0.2 < counted["replay"] / 2000 < 0.4
    assert "warm" == examples.get_string_custom_property("mode")


def test_what_a_rescue_contradicted_is_not_replayed(home: Path, tmp_path: Path):
    """The champion names the span, and the examples name it for the Trainer. A cold run takes its whole window."""
    for mode, since, spans in (("auto", "2", "[2, 3]"), ("cold", "null", "[1, 2, 3]")):
        window = json.dumps({"cold": 3, "key": ["id"]})
        examples = _run(home, tmp_path / mode, version=4, since=2, mode=mode, window=window)
        assert (since, spans) == (
            examples.get_string_custom_property("since"),
            examples.get_string_custom_property("spans"),
        )


def test_a_twin_that_is_due_takes_the_whole_window(home: Path, tmp_path: Path):
    """Where no span waits, `next` is the newest one for a twin, which reads the window of a cold run."""
    registry, root = Registry(home), tmp_path / "models"
    for span, mode in ((2, "cold"), (3, "warm")):
        (tmp_path / mode).mkdir()
        (tmp_path / mode / "saved_model.pb").write_text(mode)
        version = registry.register(
            {"serving": tmp_path / mode}, run_id=mode, mode=mode, span=span, parent=span - 2 or None
        )
        registry.record_run(run_of(Publication(registry, root).publish(version.version)))
    window = {"cold": 2, "replay": 0.3, "key": ["id"]}
    with pytest.raises(SpanError, match="none waits for a run"):
        _run(home, tmp_path / "a", version=2, span="next", window=json.dumps(window))
    due = json.dumps({**window, "twin": 1})
    examples = _run(home, tmp_path / "b", version=2, span="next", window=due)
    assert ("twin", 3, "[2, 3]") == (
        examples.get_string_custom_property("mode"),
        examples.span,
        examples.get_string_custom_property("spans"),
    )
    cold = _run(home, tmp_path / "c", version=2, mode="cold")
    rows = [each.get_string_custom_property("rows") for each in (cold, examples)]
    assert rows[0] == rows[1]


def test_champion_is_absent_at_first(home: Path, tmp_path: Path):
    """On the first run there is an artifact too, and it says absent."""
    champion = standard_artifacts.Model()
    champion.uri = str(tmp_path / "champion")
    properties = {"home": str(home), "model_root": str(tmp_path / "models")}
    ChampionExecutor().Do({}, {"champion": [champion]}, properties)
    assert "absent" == champion.get_string_custom_property("state")


def test_the_twin_comes_with_the_champion(home: Path, tmp_path: Path):
    """Its files are in the champion's artifact, in the same layout, with what its record says."""
    registry, root = Registry(home), tmp_path / "models"
    for name in ("champion", "twin"):
        (tmp_path / name / "serving").mkdir(parents=True)
        (tmp_path / name / "serving" / "saved_model.pb").write_text(name)
    parts = {name: {"serving": tmp_path / name / "serving"} for name in ("champion", "twin")}
    parts["champion"]["warm_start.json"] = tmp_path / "warm_start.json"
    (tmp_path / "warm_start.json").write_text(json.dumps({"since": 2}))
    registry.register(parts["champion"], run_id="a", span=2, spans=[1, 2])
    Publication(registry, root).publish(1)
    properties = {"home": str(home), "model_root": str(root)}

    def resolved(name: str) -> Twin | None:
        champion = standard_artifacts.Model()
        champion.uri = str(tmp_path / name)
        ChampionExecutor().Do({}, {"champion": [champion]}, properties)
        assert "champion" == Path(champion.uri, "Format-Serving", "saved_model.pb").read_text()
        assert 2 == known_since(champion)
        return twin_of(champion)

    assert resolved("without") is None
    registry.register(parts["twin"], run_id="t", span=3, spans=[2, 3], mode="twin", twin=True)
    found = resolved("with")
    assert found == Twin(tmp_path / "with" / "twin", 2, frozenset({1, 2, 3}), leads=False)
    assert "twin" == (found.folder / "Format-Serving" / "saved_model.pb").read_text()
    assert json.loads((found.folder / "version.json").read_text())["since"] is None
    for run in ("b", "c"):
        registry.record_run(RunRecord(4, run, twin={"version": 2, "loss": 0.1, "champion": 0.2}))
    found = resolved("better")
    assert found is not None and found.leads


def test_label_that_is_not_there(home: Path, tmp_path: Path):
    """A label column that the span does not have is named, with the columns that it has."""
    with pytest.raises(DataError, match="no column 'delay'"):
        _run(home, tmp_path / "a", label="delay")


def test_a_warm_run_needs_a_new_row(home: Path, tmp_path: Path):
    """A span whose rows are all held out is thin, even if there are older rows to replay."""
    store = SpanStore(home)
    for span in range(4, 16):
        store.create(span, [_events(span).slice(0, 2)], source="test")
    window = json.dumps({"cold": 2, "replay": 1.0, "replay_spans": 3, "eval_share": 0.5, "key": ["id"]})
    for span in range(8, 16):
        try:
            examples = _run(home, tmp_path / str(span), span=str(span), version=1, window=window)
        except ThinError as error:
            assert "too few rows: " in str(error)
        else:
            assert _rows(examples, "train")[f"span-{span:08d}-00000-of-00001.gz"]


def test_a_thin_span_has_its_run_and_no_run(home: Path, tmp_path: Path):
    """One row: the run ends with its reason, and so does the task tried again; the span grows, and waits again."""
    store, registry = SpanStore(home), Registry(home)
    store.create(4, [_events(4).slice(0, 1)], source="test")
    store.create(5, [_events(5)], source="test")
    registry.record_run(RunRecord(3, "run-0", data_verdict="ok", model_verdict="blessed"))
    for task in ("first", "again"):
        with pytest.raises(
            ThinError, match="span 4 is thin: too few rows: [01] to train on, [01] to evaluate on"
        ):
            _run(home, tmp_path / task, span="next", window=json.dumps({"cold": 1}))
    run = registry.runs()[-1]
    assert (4, 1, "run-1", "thin", "skipped") == (
        run.span,
        run.span_version,
        run.run_id,
        run.data_verdict,
        run.model_verdict,
    )
    assert [5] == pending(home, 1)
    examples = _run(home, tmp_path / "next", span="next", run_id="run-2", version=1)
    assert "[1, 2, 3, 4, 5]" == examples.get_string_custom_property("spans")
    store.add_late_rows(4, [_events(4).slice(1)], source="more")
    assert [4, 5] == pending(home, 1)


def test_late_rows_that_come_during_a_run_wait_for_the_next(home: Path, tmp_path: Path, monkeypatch):
    """All of a run is about the versions that were there when it picked its spans."""
    choose = execution.choose

    def chosen(*arguments):
        SpanStore(home).add_late_rows(3, [_events(9)], source="late")
        return choose(*arguments)

    monkeypatch.setattr(execution, "choose", chosen)
    examples = _run(home, tmp_path / "a")
    counted = json.loads(examples.get_string_custom_property("rows"))
    assert '{"2": 1, "3": 1}' == examples.get_string_custom_property("span_versions")
    newest = len(_rows(examples, "train")["span-00000003-00000-of-00001.gz"])
    assert 2000 == newest + counted["eval"] + counted["unlabelled"]
    assert 2 == SpanStore(home).manifest(3).version


def test_a_damaged_span_is_not_trained_on(home: Path, tmp_path: Path):
    """A bit that flipped in a span's file stops the run, and names the span and the file."""
    path = SpanStore(home).manifest(2).folder / "data-00000.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(SpanError, match="a file of span 2 is damaged: expected sha256"):
        _run(home, tmp_path / "a")


def test_two_writers_of_one_file(tmp_path: Path):
    """A bundle that is tried again beside a lost worker: each writes whole, and the split never holds a half file."""
    path = tmp_path / "examples" / "Split-train" / "span-00000001-00000-of-00001.gz"
    (batch,) = pa.table({"x": [[1], [2], [3]]}).to_batches()
    with example_file.create(path) as lost:
        lost.write(batch)
        with example_file.create(path) as again:
            again.write(batch.slice(1))
            assert [] == list(path.parent.iterdir())
        assert [path] == list(path.parent.iterdir())
        assert 2 == len(list(tf.data.TFRecordDataset(str(path), compression_type="GZIP")))
    assert 3 == len(list(tf.data.TFRecordDataset(str(path), compression_type="GZIP")))
    with pytest.raises(ZeroDivisionError), example_file.create(path):
        raise ZeroDivisionError
    assert [path.parent] == list(path.parent.parent.iterdir())
    assert 3 == len(list(tf.data.TFRecordDataset(str(path), compression_type="GZIP")))

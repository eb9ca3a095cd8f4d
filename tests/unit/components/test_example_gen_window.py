"""Which rows a run trains on, and which it is judged on."""

import numpy as np
import pyarrow as pa
import pytest

from noria.components.example_gen import split
from noria.components.example_gen.window import Pick, Window, pick, select
from noria.core.errors import DataError, SpanError


def _table(rows: int, first: int = 0) -> pa.Table:
    ids = np.arange(first, first + rows)
    label = pa.array(np.where(ids % 10 == 0, -1, ids % 2), mask=ids % 10 == 0, type=pa.int64())
    return pa.table({"id": ids, "name": [f"n{i}" for i in ids], "late": label})


def test_hash_is_pinned():
    """The hash is the same in every process, on every platform and in both lanes: rows never move."""
    table = pa.table({"a": pa.array([1, None, 3]), "b": ["x", None, "é"]})
    expected = [16620593565751548710, 13469764961001704077, 15834506355280539076]
    assert expected == split.key_hash(table, ["a", "b"]).tolist()


def test_a_number_is_hashed_as_python_writes_it():
    """Of any size, and with every way to be missing: the text whose hash decides is repr's, or that of the integer."""
    random = np.random.default_rng(11)
    drawn = random.integers(0, 1 << 63, 20_000, dtype=np.uint64).view(np.float64)
    drawn = np.where(random.random(20_000) < 0.5, -drawn, drawn)
    scaled = random.standard_normal(20_000) * 10.0 ** random.integers(-8, 18, 20_000)
    edges = [
        np.nan,
        np.inf,
        -np.inf,
        -0.0,
        1e-4,
        9.9e-5,
        9999999999.5,
        1e10 + 0.5,
        1e16,
        2.0**53,
        2.0**53 - 1,
    ]
    values = np.concatenate([drawn, scaled, np.round(scaled, 2), edges])
    for kind in (np.float64, np.float32):
        with np.errstate(over="ignore", invalid="ignore"):
            column = pa.array(values.astype(kind), mask=random.random(len(values)) < 0.1)
        texts = [_written(value) for value in column.to_pylist()]
        table = pa.table({"number": column, "text": pa.array(texts)})
        assert split.key_hash(table, ["text"]).tolist() == split.key_hash(table, ["number"]).tolist()


def _written(value: float | None) -> str:
    if value is None or np.isnan(value):
        return "\x1a"
    return str(int(value)) if abs(value) < 2**53 and value == int(value) else repr(value)


def test_columns_are_hashed_together_as_one_by_one(monkeypatch):
    """How many numbers become text at once changes no hash, with other columns between them."""
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "a": random.normal(size=20),
            "b": pa.array([f"text {i}" if i % 3 else None for i in range(20)]),
            "c": pa.array([i / 4 if i % 5 else None for i in range(20)], pa.float32()),
            "d": range(20),
            "e": random.normal(size=20) * 1e12,
        }
    )
    expected = split.key_hash(table, table.column_names).tolist()
    for at_once in (1, 40):
        monkeypatch.setattr(split, "_AT_ONCE", at_once)
        assert expected == split.key_hash(table, table.column_names).tolist()


def test_a_column_that_gains_a_null_keeps_its_rows_in_place():
    """A nullable integer that came in as a float has the same key as the integer."""
    whole = pa.table({"a": pa.array([1, 2, 30], pa.int64())})
    floats = pa.table({"a": pa.array([1.0, 2.0, 30.0], pa.float64())})
    assert split.key_hash(whole, ["a"]).tolist() == split.key_hash(floats, ["a"]).tolist()


def test_held_out_rows_stay_held_out():
    """A row is in the eval split or in training, the same in each run that sees it."""
    window = Window(key=("id",), eval_share=0.2, eval_blocks=0)
    newest = select(_table(5000), Pick(7, 1.0, True), window, "late", 7, 0, 5000)
    replayed = select(_table(5000), Pick(7, 0.5, False), window, "late", 9, 0, 5000)
    held_out = set(newest["eval"]["id"].to_pylist())
    trained = set(newest["train"]["id"].to_pylist())
    assert set() == held_out & trained
    assert set() == held_out & set(replayed["train"]["id"].to_pylist())
    assert trained >= set(replayed["train"]["id"].to_pylist())
    assert 0.18 < len(held_out) / 4500 < 0.22
    assert 0.45 < len(replayed["train"]) / len(trained) < 0.55


def test_blocks_of_rows_are_held_out():
    """Consecutive rows, the same ones batch by batch, at other places in each span; late rows move no other row."""
    whole = split.in_blocks(0, 4120, 4120, 0.2, 4, salt=7)
    batches = [split.in_blocks(first, 103, 4120, 0.2, 4, salt=7) for first in range(0, 4120, 103)]
    assert whole.tolist() == np.concatenate(batches).tolist()
    late = split.in_blocks(0, 4300, 4300, 0.2, 4, salt=7)
    assert whole.tolist() == late[:4120].tolist()
    assert whole.tolist() != split.in_blocks(0, 4120, 4120, 0.2, 4, salt=8).tolist()
    starts = int(whole[0]) + (np.diff(whole.astype(int)) == 1).sum()
    assert 4 <= starts <= 8
    assert {128} == set(np.diff(np.flatnonzero(np.diff(np.r_[0, whole.astype(int), 0])))[::2])


@pytest.mark.parametrize("share", [0.05, 0.15, 0.2, 0.5])
@pytest.mark.parametrize("rows", [40, 333, 5000])
def test_blocks_are_about_the_share_of_the_rows(rows, share):
    """For spans of any length, over many spans."""
    found = [split.in_blocks(0, rows, rows, share, 4, salt=span).mean() for span in range(50)]
    assert share == pytest.approx(np.mean(found), rel=0.15)
    assert min(found) > 0


def test_blocks_have_labels_and_no_labels():
    """A run takes the labelled rows of the blocks, and trains on none of them."""
    batches = [_table(500, first) for first in range(0, 5000, 500)]
    parts = [
        select(batch, Pick(7, 1.0, True), Window(), "late", 7, first, 5000)
        for first, batch in zip(range(0, 5000, 500), batches, strict=True)
    ]
    held_out = sorted(number for part in parts for number in part["eval"]["id"].to_pylist())
    trained = {number for part in parts for number in part["train"]["id"].to_pylist()}
    assert not trained & set(held_out)
    assert 4500 == len(trained) + len(held_out)
    assert 900 == pytest.approx(len(held_out), rel=0.25)
    assert 3 <= (np.diff(held_out) > 2).sum() < 8


def test_rows_without_a_label_are_counted():
    """Nothing is dropped silently: train, eval and unlabelled add up to the span."""
    parts = select(_table(1000), Pick(1, 1.0, True), Window(key=("id",)), "late", 1, 0, 1000)
    assert 1000 == sum(len(part) for part in parts.values())
    assert 100 == len(parts["unlabelled"])


def test_a_key_that_the_span_lacks():
    """A column of `key` that is not there is named, with the nearest one."""
    with pytest.raises(DataError, match="span 1 has no column 'naem'") as error:
        select(_table(10), Pick(1, 1.0, True), Window(key=("id", "naem")), "late", 1, 0, 10)
    assert "did you mean 'name'?" in str(error.value)


def test_two_runs_replay_different_rows():
    """Each run's newest span salts the sample."""
    window = Window(key=("id",))
    first, second = (
        set(
            select(_table(5000), Pick(3, 0.3, False), window, "late", run, 0, 5000)["train"]["id"].to_pylist()
        )
        for run in (4, 5)
    )
    assert 0.2 < len(first & second) / len(first) < 0.4


def test_cold_run_takes_the_newest_spans_whole():
    """A cold window ends with the newest span and holds at most `cold` spans."""
    picks = pick(Window(cold=3), [1, 2, 4, 5, 6], lambda span: 100, 5, warm=False)
    assert [Pick(2, 1.0, False), Pick(4, 1.0, False), Pick(5, 1.0, True)] == picks


def test_warm_run_replays_a_bounded_share():
    """The replay's expected rows are `replay` times the newest span's, however long the history."""
    spans = list(range(1, 51))
    picks = pick(Window(replay=0.25, replay_spans=8), spans, lambda span: 1000, 50, warm=True)
    assert list(range(42, 51)) == [picked.span for picked in picks]
    assert 250 == pytest.approx(sum(picked.train_rate * 1000 for picked in picks[:-1]))
    assert "replay-00000049" == picks[-2].file_stem
    assert "span-00000050" == picks[-1].file_stem


def test_what_the_newest_world_contradicts_is_not_replayed():
    """After a rescue on span 4 a warm run replays that span and later ones; the first such run replays nothing."""
    spans = [1, 2, 3, 4, 5, 6]
    picks = pick(Window(), spans, lambda span: 100, 6, warm=True, since=4)
    assert [4, 5, 6] == [picked.span for picked in picks]
    assert [Pick(6, 1.0, True)] == pick(Window(), spans, lambda span: 100, 6, warm=True, since=6)


def test_unknown_span_is_refused():
    """A span in quarantine or not in the store says which ones are there."""
    with pytest.raises(SpanError, match="span 9 is not in the span store"):
        pick(Window(), [1, 2], lambda span: 1, 9, warm=False)


def test_a_run_on_an_older_span_keeps_what_came_after_it():
    """The run of a span that left quarantine trains on later spans that had their run, never on those that wait."""
    spans = [1, 2, 3, 4, 5, 6]
    cold = pick(Window(cold=4), spans, lambda span: 100, 3, warm=False, trained={4, 5})
    assert [Pick(2, 1.0, False), Pick(4, 1.0, False), Pick(5, 1.0, False), Pick(3, 1.0, True)] == cold
    warm = pick(Window(replay_spans=3), spans, lambda span: 100, 3, warm=True, trained={4, 5})
    assert [2, 4, 5, 3] == [picked.span for picked in warm]
    assert [False, False, False, True] == [picked.evaluate for picked in warm]

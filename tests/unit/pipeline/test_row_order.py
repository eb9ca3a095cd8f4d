"""`noria init` tells if rows are in random order or a sequence, and recognises a table that is sorted by its label."""

import numpy as np
import pyarrow as pa
import pytest

from noria.pipeline.init.row_order import growing, is_random, notes, sorted_by, transient


@pytest.mark.parametrize(
    ("label", "task", "expected"),
    [
        (["a"] * 50 + ["b"] * 60 + ["c"] * 40, "multiclass", True),
        (["a", "b", "c"] * 50, "multiclass", False),
        ([0] * 190 + [1] * 10, "binary", True),
        ([0] * 199 + [1], "binary", False),  # one event says nothing
        (list(range(200)), "regression", True),
        (list(np.random.default_rng(0).normal(size=200)), "regression", False),
        (["a"] * 5 + ["b"] * 5, "binary", False),  # too few rows
    ],
)
def test_a_table_sorted_by_its_label(label, task: str, expected: bool):
    """Sorted classes and quantities get a note with a proposal; random and regular orders do not."""
    assert expected == (sorted_by(pa.array(label), task) is not None)


def test_a_time_gives_the_order():
    """With a time column the order of the rows means nothing."""
    label = pa.chunked_array([["a"] * 100 + ["b"] * 100])
    assert [] == notes(label, "binary", "t")
    assert "shuffle them" in notes(label, "binary", None)[0]


def test_random_order_is_not_sorted():
    """Of 200 tables in random order with a rare class, none counts as sorted."""
    for seed in range(200):
        random = np.random.default_rng(seed)
        label = pa.array((random.random(60 + seed * 10) < 0.15).astype(int))
        assert sorted_by(label, "binary") is None


def table(rows: int = 2_000, **columns) -> pa.Table:
    """A label that depends on `x` and `kind`, in random order; `columns` replace these."""
    random = np.random.default_rng(5)
    x, kind = random.normal(size=rows), random.choice(["a", "b", "c"], rows)
    label = (x + (kind == "a") + random.normal(size=rows) > 0).astype(int)
    return pa.table({"x": x, "kind": kind, "label": label} | columns)


def test_a_sample_is_in_random_order():
    """Of 50 shuffled tables none counts as a sequence, with any columns and gaps."""
    given = table(gaps=pa.array([None, 1.5, 2.5, None] * 500), constant=["same"] * 2_000)
    for seed in range(50):
        shuffled = given.take(pa.array(np.random.default_rng(seed).permutation(len(given))))
        assert is_random(shuffled, "label", ["x", "kind", "gaps", "constant"])


@pytest.mark.parametrize(
    "columns",
    [
        {"x": np.cumsum(np.random.default_rng(1).normal(size=2_000))},
        {"kind": np.repeat(["a", "b", "c", "d"], 500)},
        {"label": np.random.default_rng(2).random(2_000) < np.linspace(0.2, 0.5, 2_000)},
        {"label": np.sign(np.array(table()["x"])) * np.repeat([1, -1], 1_000)},
    ],
    ids=["a walk", "one kind after the other", "a rate that grows", "a relation that turns"],
)
def test_a_sequence_is_not(columns):
    """Rows that resemble their neighbours, parts that differ, and a relation that changes show a sequence."""
    assert not is_random(table(**columns), "label", ["x", "kind"])


def test_a_class_that_lasts_is_no_sorted_table():
    """A storm keeps its class for some ten reports; each part of the table has all classes."""
    rng = np.random.default_rng(1)
    classes = np.repeat(rng.choice(["low", "storm", "hurricane"], 200), 10)
    assert sorted_by(pa.array(classes), "multiclass") is None
    assert sorted_by(pa.array(np.sort(classes)), "multiclass") is not None


def test_a_column_that_follows_the_rows_is_growing():
    """A year, a counter and a countdown; not a measurement, a flag that came late, or a column without values."""
    n = np.arange(400)
    values = {
        "year": 1975 + n // 40,
        "left": 400.0 - n,
        "heat": np.sin(n),
        "flag": n > 300,
        "gaps": np.where(n % 3 == 0, np.nan, n),
    }
    columns = {name: pa.array(value, from_pandas=True).cast(pa.float64()) for name, value in values.items()}
    columns["none"] = pa.nulls(400, pa.float64())
    assert ["year", "left", "gaps"] == growing(pa.table(columns), list(columns))


def test_values_that_do_not_come_back() -> None:
    """Numbers of orders and sessions are found; people, shops and months are not."""
    rng = np.random.default_rng(5)
    rows = 3_000
    columns = {
        "order": [f"o-{i // 3}" for i in range(rows)],
        "person": [f"p-{each}" for each in rng.integers(0, 900, rows)],
        "shop": [f"s-{each}" for each in rng.integers(0, 9, rows)],
        "month": [f"m-{i // 250}" for i in range(rows)],
    }
    table = pa.table(columns)
    assert ["order"] == transient(table, table.column_names)

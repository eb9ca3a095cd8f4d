"""`noria init` recognises a table that is sorted by its label."""

import numpy as np
import pyarrow as pa
import pytest

from noria.pipeline.init.row_order import notes, sorted_by


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
    """Of 200 tables in random order with a rare class, none is taken for sorted."""
    for seed in range(200):
        random = np.random.default_rng(seed)
        label = pa.array((random.random(60 + seed * 10) < 0.15).astype(int))
        assert sorted_by(label, "binary") is None

"""Faults of a stream, through the project that `noria init` writes: no published model is worse than a guess.

Each span is predicted by the version that serves before it is learnt. The change comes with the fourth of six spans.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks import drafted, drift_product

pytestmark = pytest.mark.slow  # five runs of the whole pipeline for each fault

ROWS, SPANS, CHANGE = 1_000, 6, 3
WORSE = 0.03  # nats a row
NUMBERS = ["a", "b", "c"]


def stream(seed: int = 0) -> pd.DataFrame:
    """The label depends on `a`, and on the shop in a fifth of the rows; `c` says nothing."""
    random = np.random.default_rng(seed)
    count = ROWS * SPANS
    rows = pd.DataFrame({name: random.normal(size=count) for name in NUMBERS})
    rows["shop"] = random.choice(["north", "south", "west"], count, p=[0.5, 0.45, 0.05])
    pull = 2.0 * rows["a"] + 0.7 * rows["b"] + np.where(rows["shop"] == "west", 2.0, 0.0)
    rows["label"] = (random.random(count) < 1 / (1 + np.exp(-pull))).astype(np.int64)
    rows["time"] = 1_700_000_000 + 60 * np.arange(count)
    return rows


def after(rows: pd.DataFrame) -> pd.Series:
    return pd.Series(np.arange(len(rows)) >= CHANGE * ROWS)


def wakes(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(c=np.where(after(rows), 0.003 + 0.002 * rows["c"], 0.003467))


def unit(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(a=np.where(after(rows), 1000 * rows["a"], rows["a"]))


def dies(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(a=np.where(after(rows), 0.25, rows["a"]))


def flips(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(label=np.where(after(rows), 1 - rows["label"], rows["label"]))


def random_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """Two spans of them."""
    at = np.arange(len(rows)) // ROWS
    noise = np.random.default_rng(1).integers(0, 2, len(rows))
    return rows.assign(label=np.where((at >= CHANGE) & (at < CHANGE + 2), noise, rows["label"]))


def takes_over(rows: pd.DataFrame) -> pd.DataFrame:
    """Nearly all rows come from the shop that was rare, where the label is another one."""
    rows = rows.assign(shop=np.where(after(rows) & (np.arange(len(rows)) % 10 > 0), "west", rows["shop"]))
    random = np.random.default_rng(2)
    pull = 2.0 * rows["a"] + np.where(rows["shop"] == "west", -2.0, 0.0)
    label = (random.random(len(rows)) < 1 / (1 + np.exp(-pull))).astype(np.int64)
    return rows.assign(label=np.where(after(rows), label, rows["label"]))


def log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    scores = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(-np.log(np.where(labels == 1, scores, 1 - scores)).mean())


def cold(newest: pd.DataFrame, upcoming: pd.DataFrame) -> np.ndarray:
    """Scores of a logistic regression on the newest span alone."""

    def matrix(rows: pd.DataFrame) -> np.ndarray:
        scaled = (rows[NUMBERS] - newest[NUMBERS].mean()) / newest[NUMBERS].std().replace(0, 1)
        return np.column_stack([scaled, *(rows["shop"] == name for name in ("north", "south", "west"))])

    model = LogisticRegression().fit(matrix(newest), newest["label"])
    return model.predict_proba(matrix(upcoming))[:, 1]


@pytest.mark.parametrize("change", [wakes, unit, dies, flips, random_labels, takes_over])
def test_a_published_model_follows(tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]):
    """After a span with the change no version is worse than a guess, and after two it is as good as a cold model."""
    rows = change(stream())
    spans = [rows.iloc[at : at + ROWS] for at in range(0, len(rows), ROWS)]
    config = drafted.project(
        tmp_path,
        change.__name__,
        pa.Table.from_pandas(rows, preserve_index=False),
        "label",
        time="time",
        span={"every": f"rows:{ROWS}"},
        window={"first": 2},
    )
    tables = [pa.Table.from_pandas(span.drop(columns="label"), preserve_index=False) for span in spans]
    losses, seen = {}, {}
    for upcoming, record, scores in drift_product.follow(config, tables):
        assert "failure" not in record and scores is not None
        losses[upcoming], seen[upcoming] = log_loss(spans[upcoming]["label"].to_numpy(), scores[:, 0]), record
    for upcoming in range(CHANGE + 1, SPANS):
        labels = spans[upcoming]["label"].to_numpy()
        guess = log_loss(labels, np.full(ROWS, spans[upcoming - 1]["label"].mean()))
        assert losses[upcoming] < guess + WORSE, seen
    at_once = log_loss(labels, cold(spans[-2], spans[-1]))
    assert losses[SPANS - 1] < at_once + WORSE, (at_once, seen)

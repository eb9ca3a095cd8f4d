"""Synthetic events, wider than the flights, as many as asked for, made and written a row group at a time.

40 columns: the time, a binary label, 22 numbers (a quarter of them with gaps), 4 whole numbers and 12 categories with 4
to 5,000 values. The project around them is what `noria init` drafts from a sample.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import drafted
from noria.stores.span_files import GROUP_ROWS
from noria.stores.spans import SpanStore

NUMBERS, INTEGERS = 22, 4
CATEGORIES = (4, 8, 12, 20, 30, 50, 80, 120, 300, 800, 2_000, 5_000)
COLUMNS = 2 + NUMBERS + INTEGERS + len(CATEGORIES)
LABEL, TIME = "clicked", "at"
START = 1_700_000_000  # epoch seconds of the first event
GAP_SHARE = 0.1
SAMPLE_ROWS = 20_000


def batches(rows: int, seed: int) -> Iterator[pa.RecordBatch]:
    """Record batches of at most 65,536 rows, in the order of time; the same for the same seed."""
    words = [pa.array([f"value {size}/{i}" for i in range(size)]) for size in CATEGORIES]
    for at in range(0, rows, GROUP_ROWS):
        count = min(GROUP_ROWS, rows - at)
        random = np.random.default_rng((seed, at))
        numbers = random.standard_normal((NUMBERS, count))
        # Small values are frequent: the square of a uniform share.
        ids = [(random.random(count) ** 2 * size).astype(np.int64) for size in CATEGORIES]
        logit = numbers[0] - 0.5 * numbers[1] + 0.1 * ids[0] - 0.05 * ids[2] - 1.0
        columns: dict[str, Any] = {TIME: START + seed * rows + at + np.arange(count)}
        for i, column in enumerate(numbers):
            gaps = random.random(count) < GAP_SHARE if i % 4 == 3 else None
            columns[f"number_{i:02d}"] = pa.array(column * (i + 1), mask=gaps)
        for i in range(INTEGERS):
            columns[f"integer_{i}"] = random.integers(0, 10 ** (i + 2), count)
        for size, values, chosen in zip(CATEGORIES, words, ids, strict=True):
            columns[f"category_{size}"] = values.take(pa.array(chosen))
        columns[LABEL] = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int64)
        yield pa.RecordBatch.from_pydict(columns)


def commit(home: Path, span: int, rows: int) -> None:
    """Writes a span of this many rows; the span's id is the seed."""
    SpanStore(home).create(span, batches(rows, span), source="synthetic")


def project(folder: Path, **settings: Any) -> Any:
    """Drafts a project from a sample, without a source and with all gates open; its config."""
    return drafted.project(
        folder,
        "synthetic",
        pa.Table.from_batches(list(batches(SAMPLE_ROWS, 1))),
        LABEL,
        time=TIME,
        home=str(folder / "home"),
        data={},
        **{
            "window": {"first": 1, "cold": 1, "replay": 0.25},
            "gates": open_gates(["category_4", "category_8"]),
            **settings,
        },
    )


def open_gates(slices: list[str]) -> dict[str, Any]:
    """Gates that compute all and stop nothing: what is measured is their cost."""
    measures = dict.fromkeys(("linf", "js", "kl", "psi"))
    checks = dict.fromkeys(("volume", "label_rate", "stuck", "association", "slices", "overlap"))
    return {
        "data": {"measures": measures, "stable": {"psi": None}, **checks},
        "model": {
            "metrics": {"auc": {"min": 0.0}, "log_loss": {"max": 100.0}},
            "slices": slices,
            "slice_change": None,
            "first_run": "bless",
        },
    }

"""What every gate metric must do. Run it on your own in a test:

from noria.components.evaluator.metric_contract import check_metric

def test_my_metric():
    check_metric(Brier)
"""

import math

import numpy as np

from noria.components.evaluator.metrics.base import TASKS, Metric

__all__ = ["check_metric"]

ROWS, CLASSES = 400, 5


def check_metric(kind: type[Metric]) -> None:
    """Checks a metric with made-up rows; the same ones in each call.

    Raises:
      AssertionError: it breaks the contract; the message says where.
    """
    metric = kind()
    assert issubclass(kind, Metric), f"{kind.__name__} must be a subclass of Metric"
    assert kind.label, "label must be a text"
    assert kind.better in ("higher", "lower", None), (
        f"better must be higher, lower or None, got {kind.better!r}"
    )
    assert kind.tasks and set(kind.tasks) <= set(TASKS), (
        f"tasks must be of {', '.join(TASKS)}, got {kind.tasks!r}"
    )
    assert set(kind.reported) <= set(kind.tasks), "reported must be of its tasks"
    assert set(kind.tfma) <= set(kind.tasks), "tfma must be of its tasks"
    for task in kind.tasks:
        labels, scores, perfect = rows_of(task)
        given = labels.copy(), scores.copy()
        value = metric.compute(labels, scores, task)
        where = f"for the task {task}"
        assert np.array_equal(given[0], labels) and np.array_equal(given[1], scores), (
            f"compute must not change what it is given {where}"
        )
        assert isinstance(value, float) and math.isfinite(value), (
            f"compute must give a float, got {value!r} {where}"
        )
        order = np.random.default_rng(1).permutation(ROWS)
        again = metric.compute(labels[order], scores[order], task)
        assert math.isclose(value, again, rel_tol=1e-9), (
            f"the order of the rows must not count, got {value} and {again} {where}"
        )
        best = metric.compute(labels, perfect, task)
        if kind.better is not None:
            gain = best - value if kind.better == "higher" else value - best
            assert gain >= 0, f"perfect predictions must be better, got {best} after {value} {where}"
        for few in (labels[:1], np.zeros(3), np.ones(3)):
            odd = metric.compute(few, scores[: len(few)], task)
            assert isinstance(odd, float), f"compute must give a float or NaN, got {odd!r} for {few} {where}"
            assert math.isfinite(odd) or kind.needs, (
                f"it is not defined for {few}, so `needs` must say why {where}"
            )


def rows_of(task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, fair scores and perfect scores of 400 rows, as `Metric.compute` gets them."""
    random = np.random.default_rng(0)
    signal = random.normal(size=ROWS)
    if task == "regression":
        labels = 3 * signal + 1
        return labels, labels + random.normal(size=ROWS), labels.copy()
    if task == "binary":
        chance = 1 / (1 + np.exp(-signal))
        labels = (random.random(ROWS) < chance).astype(float)
        return labels, chance, labels.copy()
    classes = random.integers(0, CLASSES, ROWS)
    perfect = np.eye(CLASSES, dtype=np.float32)[classes]
    noise = random.random((ROWS, CLASSES)).astype(np.float32)
    mixed = perfect + 2 * noise
    return classes.astype(float), mixed / mixed.sum(axis=1, keepdims=True), perfect

"""ROC curve and confusion matrix, against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from noria.components.evaluator import curves


def test_roc() -> None:
    """Each point is one of scikit-learn's curve or on a line of it, from (0, 0) to (1, 1); the area is its AUC."""
    rng = np.random.default_rng(1)
    labels = (rng.random(5000) < 0.3).astype(np.int64)
    scores = np.clip(rng.normal(0.3 + 0.2 * labels, 0.2), 0.001, 1).astype(np.float32)
    found = curves.roc(labels, scores)
    assert found is not None
    rates, recalls, _ = metrics.roc_curve(labels, scores)
    assert np.interp(found["false_positive_rate"], rates, recalls) == pytest.approx(found["recall"], abs=1e-2)
    assert (0.0, 0.0) == (found["false_positive_rate"][0], found["recall"][0])
    assert (1.0, 1.0) == (found["false_positive_rate"][-1], found["recall"][-1])
    area = metrics.auc(found["false_positive_rate"], found["recall"])
    assert metrics.roc_auc_score(labels, scores) == pytest.approx(area, abs=1e-3)
    assert len(found["threshold"]) <= curves.POINTS + 1


def test_rows_of_one_class_have_no_curve() -> None:
    """There is no false positive without a negative row."""
    assert curves.roc(np.ones(3), np.ones(3)) is None


@pytest.mark.parametrize("classes", [1, 3])
def test_confusion(classes: int) -> None:
    """Rows are the classes, columns the predictions, as scikit-learn counts them."""
    rng = np.random.default_rng(2)
    scores = rng.random((200, classes))
    labels = rng.integers(0, max(2, classes), 200)
    predicted = scores.argmax(axis=1) if classes > 1 else scores[:, 0] > 0.5
    assert metrics.confusion_matrix(labels, predicted).tolist() == curves.confusion(labels, scores)


def test_what_is_written(tmp_path: Path) -> None:
    """A regression has neither, more than a few classes have no matrix."""
    labels = np.array([0, 1])
    for task, width in (("regression", 1), ("multiclass", curves.CLASSES + 1)):
        curves.write(tmp_path / "c", labels, {"m": np.ones((2, width))}, task, {"m": "champion"})
        assert {"champion": {"roc": None, "confusion": None}} == json.loads((tmp_path / "c").read_text())

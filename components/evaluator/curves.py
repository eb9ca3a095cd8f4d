"""What a picture of a classifier needs: its ROC curve and its confusion matrix, on all rows of the eval split."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from noria.components.evaluator.metrics._decided import THRESHOLD

FILE = "curves.json"
POINTS = 100  # of a curve, at equal shares of the rows
CLASSES = 30  # a matrix of more cannot be read


def write(
    file: Path, labels: np.ndarray, scores: Mapping[str, np.ndarray], task: str, names: Mapping[str, str]
) -> None:
    """Writes `roc` and `confusion` of each model; null where the rows or the task have none.

    Args:
      file: JSON.
      labels: `[n]`, 0 or 1, or the class's index.
      scores: model -> `[n, k]`.
      task: `binary`, `multiclass` or `regression`.
      names: model -> its key in the file.
    """
    found: dict[str, dict[str, Any]] = {
        names[model]: {
            "roc": roc(labels, part[:, 0]) if task == "binary" else None,
            "confusion": None if task == "regression" else confusion(labels, part),
        }
        for model, part in scores.items()
    }
    file.write_text(json.dumps(found), encoding="utf-8")


def roc(labels: np.ndarray, scores: np.ndarray) -> dict[str, list[float]] | None:
    """Points of the ROC curve from (0, 0) on; None for rows of one class.

    Args:
      labels: `[n]`, 0 or 1.
      scores: `[n]`, 0 to 1.

    Returns:
      `threshold`, descending; `false_positive_rate` and `recall` of the decision `score > threshold`.
    """
    positives, negatives = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positives) or not len(negatives):
        return None
    shares = np.quantile(scores, np.linspace(0, 1, POINTS - 1))
    thresholds = np.unique([0.0, 1.0, *shares.astype(np.float64)])[::-1]

    def above(part: np.ndarray) -> list[float]:
        return (1 - np.searchsorted(part, thresholds, side="right") / len(part)).tolist()

    return {
        "threshold": thresholds.tolist(),
        "false_positive_rate": above(negatives),
        "recall": above(positives),
    }


def confusion(labels: np.ndarray, scores: np.ndarray) -> list[list[int]] | None:
    """Rows by class (first index) and by predicted class (second index); None for too many classes.

    Args:
      labels: `[n]`, the class's index.
      scores: `[n, k]`; k = 1 is the probability of class 1.
    """
    classes = max(2, scores.shape[1])
    if classes > CLASSES:
        return None
    predicted = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > THRESHOLD
    cells = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    counts: Any = np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
    return counts.tolist()

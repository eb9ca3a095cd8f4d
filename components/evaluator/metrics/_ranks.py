"""Rows by distinct score, from which the areas under curves follow without thresholds."""

import numpy as np


def by_score(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with the label 1 and with the label 0 at each distinct score, ascending; `[distinct]` int64 each.

    Args:
      labels: `[n]`, 0 or 1.
      scores: `[n]`.
    """
    _, rank = np.unique(scores, return_inverse=True)
    rows = np.bincount(rank)
    positives = np.bincount(rank[labels == 1], minlength=len(rows))
    return positives, rows - positives

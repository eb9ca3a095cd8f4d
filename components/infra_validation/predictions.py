"""What must hold for the predictions of any model."""

import math
from collections.abc import Sequence

# A model that reads its features never gives one and the same prediction for so many different rows.
ROWS_THAT_MUST_DIFFER = 16

# Float32 softmax of a few thousand classes adds up to 1 within 1e-4.
_SUM_TOLERANCE = 1e-3


def fault(values: Sequence[float], shape: Sequence[int], rows: int, different: int, task: str) -> str | None:
    """What is wrong with predictions, or None.

    Args:
      values: the predictions, flat, row by row.
      shape: their shape.
      rows: number of examples.
      different: number of different examples.
      task: `binary`, `multiclass` or `regression`.

    >>> fault([0.1, 1.2], [2, 1], 2, 2, "binary")
    'probabilities must be in [0, 1], got 0.1 to 1.2'
    """
    if task == "multiclass":
        if len(shape) != 2 or shape[0] != rows or shape[1] < 2:
            return f"predictions must have the shape [{rows}, classes], got {list(shape)}"
    elif tuple(shape) not in ((rows, 1), (rows,)):
        return f"predictions must have the shape [{rows}, 1], got {list(shape)}"
    broken = sum(not math.isfinite(value) for value in values)
    if broken:
        return f"{broken} of {len(values)} predictions are not finite numbers"
    if task != "regression" and not all(0.0 <= value <= 1.0 for value in values):
        return f"probabilities must be in [0, 1], got {min(values):g} to {max(values):g}"
    found: set[float] | set[tuple[float, ...]] = set(values)
    if task == "multiclass":
        width = shape[1]
        by_row = [tuple(values[start : start + width]) for start in range(0, len(values), width)]
        worst = max(map(sum, by_row), key=lambda total: abs(total - 1.0))
        if abs(worst - 1.0) > _SUM_TOLERANCE:
            return f"each row's probabilities must add up to 1, got {worst:g}"
        found = set(by_row)
    if different >= ROWS_THAT_MUST_DIFFER and len(found) == 1:
        return f"{different} different rows all get the same prediction, {values[0]:g}"
    return None

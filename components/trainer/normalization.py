"""How numbers reach the model: scaled by fixed vectors, then clipped; and when an input starts fresh. Needs numpy only.

A z-score has at most a ninth of its rows beyond 3 deviations (Chebyshev's inequality), so a column with more was not
scaled by the preprocessing. It gets its scale here.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from noria.components.trainer.remap import Line

# Over ten drifting streams 3 was better than 8 where a column wakes up (loss .487 against .614 of a guess's) and
# within .005 elsewhere. It bounds what any value can do to a score.
CLIP = 3.0
NEVER = float(
    np.finfo(np.float32).min
)  # a number that never comes; not NaN, so that two states can be compared
FLOOR = 1e-5  # deviation as a share of the mean up to which a column is constant: float32 cannot tell
LARGEST = 8.0  # times that an input's scale may grow or shrink; deviations that it may move
SATURATED = 0.5  # share of rows beyond the clip at which an input says nothing


@dataclasses.dataclass
class Inputs:
    """What happens to each column of the numeric matrix, each `[F]` float64.

    The model sees `clip(x * scale + shift)`, and `filled` where x is exactly `missing`.

    Attributes:
      fresh: why a column started fresh in a warm run, by its number.
    """

    scale: np.ndarray
    shift: np.ndarray
    missing: np.ndarray
    filled: np.ndarray
    fresh: dict[int, str] = dataclasses.field(default_factory=dict)

    def seen(self, rows: np.ndarray) -> np.ndarray:
        """What the model sees of a numeric matrix: float64 `[n, F]`, clipped."""
        moved = np.where(rows == self.missing, self.filled, rows * self.scale + self.shift)
        return np.clip(moved, -CLIP, CLIP)


def unscaled(width: int) -> Inputs:
    """Inputs as they are."""
    return Inputs(np.ones(width), np.zeros(width), np.full(width, NEVER), np.zeros(width))


def standardize(inputs: Inputs, column: int, rows: np.ndarray) -> None:
    """Gives a column its first scale and shift.

    Args:
      rows: the column's values in the window, or in a part of it.
    """
    scale, shift = 1.0, 0.0
    rows = rows.astype(np.float64)
    if len(rows) and (np.abs(rows) > CLIP).mean() > 1 / CLIP**2:
        mean, deviation = rows.mean(), rows.std()
        if deviation > FLOOR * abs(mean):
            scale = 1 / deviation
        shift = -mean * scale
    inputs.scale[column], inputs.shift[column] = scale, shift
    inputs.missing[column], inputs.filled[column] = NEVER, 0.0


def follow(inputs: Inputs, lines: Mapping[int, Line], rows: np.ndarray) -> Inputs:
    """The champion's inputs over the run's transform graph.

    With old = a * new + b, what the model sees of the same raw value stays the same: scale' = scale * a and
    shift' = scale * b + shift. An input starts fresh if its scale grows or shrinks more than
    8 times, if it moves by more than 8 deviations, if the column was constant before, or if more than half of the
    window's rows would be clipped.

    Args:
      inputs: the champion's.
      lines: how a column has changed; only those that have.
      rows: the window's numeric matrix, or a part of it, `[n, F]`.
    """
    found = Inputs(*(getattr(inputs, name).copy() for name in ("scale", "shift", "missing", "filled")))
    for column in range(len(inputs.scale)):
        line = lines.get(column)
        if line is not None:
            _compose(found, column, line)
        reason = _broken(inputs, found, column, line, rows[:, column])
        if reason is not None:
            standardize(found, column, rows[:, column])
            found.fresh[column] = reason
    return found


def _compose(found: Inputs, column: int, line: Line) -> None:
    if line.missing is not None:
        was, now = line.missing
        on_line = found.scale[column] * was + found.shift[column]
        found.filled[column] = found.filled[column] if was == found.missing[column] else on_line
        found.missing[column] = now
    else:
        found.missing[column] = NEVER
    found.shift[column] += found.scale[column] * line.shift
    found.scale[column] *= line.scale


def _broken(old: Inputs, new: Inputs, column: int, line: Line | None, rows: np.ndarray) -> str | None:
    """Why an input must start fresh, or None."""
    if line is not None:
        if line.scale == 0:
            return "the column was constant before"
        # The step itself, and the way since the first run: small steps add up.
        for before, after in ((1.0, line.scale), (old.scale[column], new.scale[column])):
            if _within(before, 1 / LARGEST, LARGEST) and not _within(after, 1 / LARGEST, LARGEST):
                return f"its scale has changed by {after / before:.6g}"
        step = old.scale[column] * line.shift
        for before, after in ((0.0, step), (old.shift[column], new.shift[column])):
            if _within(before, 0, LARGEST) and not _within(after, 0, LARGEST):
                return f"it has moved by {after - before:.6g} deviations"
    seen = new.scale[column] * rows.astype(np.float64) + new.shift[column]
    clipped = (np.abs(seen[rows != new.missing[column]]) > CLIP).sum() / max(1, len(rows))
    if clipped > SATURATED:
        return f"{clipped:.0%} of its values are beyond {CLIP:g} deviations"
    return None


def _within(value: float, least: float, most: float) -> bool:
    return least <= abs(value) <= most


def names(columns: Sequence[int], layout: Mapping[str, slice]) -> dict[int, str]:
    """What people call columns of the numeric matrix: the feature, and its place where the feature has several."""
    found = {}
    for feature, part in layout.items():
        for column in range(part.start, part.stop):
            if column in columns:
                found[column] = (
                    feature if part.stop - part.start == 1 else f"{feature}[{column - part.start}]"
                )
    return found

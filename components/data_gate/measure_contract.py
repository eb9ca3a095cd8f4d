"""What every drift measure must do. Run it on your own in a test:

from noria.components.data_gate.measure_contract import check_measure

def test_my_measure():
    check_measure(Hellinger)
"""

import math
import random
from collections.abc import Iterator

from noria.components.data_gate.binning import BINNINGS
from noria.components.data_gate.measures.base import Measure

__all__ = ["check_measure"]


def check_measure(kind: type[Measure]) -> None:
    """Checks a drift measure with made-up distributions; the same ones in each call.

    Raises:
      AssertionError: it breaks the contract; the message says where.
    """
    measure = kind()
    low, high = kind.bounds
    assert issubclass(kind, Measure), f"{kind.__name__} must be a subclass of Measure"
    assert kind.label and kind.definition, "label and definition must be texts"
    assert kind.bins in BINNINGS, f"bins must be one of {', '.join(BINNINGS)}, got {kind.bins!r}"
    assert kind.applies_to and set(kind.applies_to) <= {"numeric", "categorical"}, (
        f"applies_to must hold numeric, categorical or both, got {kind.applies_to!r}"
    )
    assert low < high, f"bounds must ascend, got {kind.bounds!r}"
    assert kind.threshold is None or low <= kind.threshold <= high, (
        f"the threshold must be within the bounds, got {kind.threshold!r}"
    )
    for current, reference in _pairs():
        given = list(current), list(reference)
        value = measure.value(current, reference)
        where = f"for {given[0]} against {given[1]}"
        assert (current, reference) == given, f"value must not change what it is given {where}"
        assert isinstance(value, float | int) and math.isfinite(value), f"got {value!r} {where}"
        assert low - 1e-9 <= value <= high + 1e-9, f"{value} is out of bounds {where}"
        same = measure.value(reference, reference)
        assert abs(same - low) < 1e-9, f"equal distributions must give {low}, got {same} {where}"
        steps = [measure.value(_mixed(current, reference, part / 4), reference) for part in range(5)]
        assert all(left <= right + 1e-9 for left, right in zip(steps, steps[1:], strict=False)), (
            f"the further from the reference, the larger the value must be, got {steps} {where}"
        )
    chances = [measure.chance(rows, rows, 10) for rows in (100, 10_000)]
    assert chances[0] >= chances[1] >= 0, f"chance must fall with the rows and be at least 0, got {chances}"


def _pairs() -> Iterator[tuple[list[float], list[float]]]:
    """Counts over the same bins, with empty bins, large and small, and nothing in common."""
    yield [10.0, 0.0], [0.0, 10.0]
    yield [0.0, 1e9, 3.0], [1e9, 0.0, 0.0]
    draw = random.Random(7)
    for bins in (2, 3, 11, 22):
        for _ in range(20):
            sides = [[float(draw.choice((0, draw.randrange(1, 1000)))) for _ in range(bins)] for _ in "pq"]
            if all(map(any, sides)):
                yield sides[0], sides[1]


def _mixed(current: list[float], reference: list[float], part: float) -> list[float]:
    """As many rows as the reference has: `part` of them distributed as in the span, the others as in the reference."""
    scale = sum(reference) / sum(current)
    return [(1 - part) * q + part * scale * p for p, q in zip(current, reference, strict=True)]

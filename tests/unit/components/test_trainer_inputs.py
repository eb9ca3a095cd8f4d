"""How numbers reach the model, and when an input starts fresh; the base rate. No TensorFlow."""

import numpy as np
import pytest

from noria.components.trainer import base_rate, normalization
from noria.components.trainer.normalization import follow, standardize, unscaled
from noria.components.trainer.remap import Line, fit_line

RANDOM = np.random.default_rng(1)
Z = RANDOM.normal(size=(4_000, 1))


def test_a_column_that_wakes_up_starts_fresh():
    """The old graph made 0 of a constant: the line is old = 0 * new, which would disable the input permanently."""
    line = fit_line(np.zeros(4_000), Z[:, 0])
    assert (0.0, 0.0) == (line.scale, line.shift)
    found = follow(unscaled(1), {0: line}, Z)
    assert {0: "the column was constant before"} == found.fresh
    assert (1.0, 0.0) == (found.scale[0], found.shift[0])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Line(904_327.0, 0.0, 0.0), "its scale has changed by 904327"),
        (Line(1000.0, 0.0, 0.0), "its scale has changed by 1000"),
        (Line(-0.1, 0.0, 0.0), "its scale has changed by -0.1"),
        (Line(1.0, -9.0, 0.0), "it has moved by -9 deviations"),
        (Line(1.0, 7.0, 0.0), "100% of its values are beyond 3 deviations"),
    ],
)
def test_lines_that_say_nothing(line, reason):
    """A scale outside [1/8, 8], a shift of more than 8 deviations, or most rows clipped: the input starts fresh."""
    found = follow(unscaled(1), {0: line}, Z)
    assert {0: reason} == found.fresh
    assert (1.0, 0.0, normalization.NEVER) == (found.scale[0], found.shift[0], found.missing[0])


def test_an_ordinary_refresh_is_followed():
    """old = 2 * new + 0.5 over a champion's 0.5 * x + 1: the model sees what it saw, also for a missing number."""
    champion = unscaled(1)
    champion.scale[0], champion.shift[0] = 0.5, 1.0
    found = follow(champion, {0: Line(2.0, 0.5, 0.0, missing=(0.0, 0.3))}, Z)
    assert {} == found.fresh
    assert (1.0, 1.25) == (found.scale[0], found.shift[0])
    assert (0.3, 1.0) == (found.missing[0], found.filled[0])


def test_small_steps_add_up():
    """Three refreshes that triple the scale are one too many."""
    inputs = unscaled(1)
    for step, fresh in enumerate([False, True]):
        inputs = follow(inputs, {0: Line(3.0, 0.0, 0.0)}, Z / 10)
        assert fresh == bool(inputs.fresh), step


def test_a_unit_that_changes_under_a_reused_graph():
    """No line shows it, but nearly all rows are beyond the clip; the new scale comes from the rows."""
    found = follow(unscaled(1), {}, 1000 * Z + 500)
    assert "beyond 3 deviations" in found.fresh[0]
    seen = found.scale * (1000 * Z + 500) + found.shift
    np.testing.assert_allclose([0.0, 1.0], [seen.mean(), seen.std()], atol=1e-9)


def test_numbers_without_a_scale_get_one():
    """Z-scores and indicators stay as they are; years get a scale, and a constant year becomes 0."""
    columns = [
        Z[:, 0],
        RANDOM.random(4_000) < 0.01,
        RANDOM.integers(1990, 2026, 4_000),
        np.full(4_000, 2013.0),
    ]
    inputs = unscaled(4)
    for column, rows in enumerate(columns):
        standardize(inputs, column, np.asarray(rows, np.float32))
    assert [1.0, 1.0, 1.0] == inputs.scale[[0, 1, 3]].tolist()
    assert [0.0, 0.0, -2013.0] == inputs.shift[[0, 1, 3]].tolist()
    np.testing.assert_allclose(1.0, (columns[2] * inputs.scale[2] + inputs.shift[2]).std(), atol=1e-4)


def test_columns_are_named_as_people_do():
    """A scalar by its name, a part of a vector with its place."""
    layout = {"age": slice(0, 1), "place": slice(1, 3)}
    assert {0: "age", 2: "place[1]"} == normalization.names([0, 2], layout)


def test_base_rate_of_the_newest_spans():
    """Each of the newest three spans has the same weight, for any number of rows; older ones have none."""
    rows = {
        f"/x/span-0000000{span}-00000-of-00001.gz": count for span, count in ((1, 2), (2, 98), (3, 8), (4, 8))
    }
    labels = np.concatenate([np.ones(2), np.zeros(98), np.ones(4), np.zeros(4), np.ones(2), np.zeros(6)])
    expected = np.mean([1 / 100, 5 / 10, 3 / 10])
    assert pytest.approx(expected) == base_rate.newest(labels, rows, 2)[1]

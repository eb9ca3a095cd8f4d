"""When a champion collapses by its labels: the error of the test, and how soon it sees a model that is broken."""

import functools
import math
import random

import pytest

from noria.serving.rollouts.collapse import RUN_LENGTH, SHARE, LossCollapse


def labels_until_alarm(score, truth, labels: int, kinds: tuple[int, ...] = (0, 1)) -> int | None:
    """Labels of rows whose true probability is `truth(x)` and whose score is `score(x)`; None without an alarm.

    Args:
      kinds: which labels arrive while the rows do; the others come at the end.
    """
    draw, losses = random.Random(1), LossCollapse()
    count, late = 0, []
    for _ in range(labels):
        x = draw.random()
        row = score(x), int(draw.random() < truth(x))
        losses.answered(row[0])
        if row[1] not in kinds:
            late.append(row)
            continue
        count += 1
        if losses.update(*row):
            return count
    return next((count + place for place, row in enumerate(late, 1) if losses.update(*row)), None)


def test_the_expectation_of_a_labels_factor_is_at_most_one() -> None:
    """In the rows of each label alone, where the label's probability lies between the score and its mixture."""
    draw = random.Random(1)
    for _ in range(300):
        scores = [draw.betavariate(*draw.choice([(0.1, 0.1), (1, 1), (0.2, 5), (20, 80)])) for _ in range(20)]
        mean, share = sum(scores) / len(scores), draw.choice((0, 0.5 * SHARE, SHARE))
        for guess, rows in ((mean, scores), (1 - mean, [1 - score for score in scores])):
            expected = 0.0
            for score in rows:
                truth, mixed = ((1 - part) * score + part * guess for part in (share, SHARE))
                expected += truth / guess / len(rows) * guess / mixed  # its share of the rows, and the factor
            assert expected <= 1 + 1e-9


@pytest.mark.parametrize("kinds", [(0, 1), (1,), (0,)])
def test_a_model_that_is_right_never_collapses(kinds) -> None:
    """Scores that are the labels' probabilities, of rare and of common labels, in whatever order the labels come."""
    for rate in (0.02, 0.5):
        right = functools.partial(lambda rate, x: 2 * rate * x, rate)
        assert None is labels_until_alarm(right, right, 20_000, kinds)
    assert None is labels_until_alarm(lambda x: 0.2, lambda x: 0.2, 5_000, kinds)


def test_a_broken_model_collapses_soon() -> None:
    """Scores of the opposite, and of noise; the same score for all rows is not an alarm, whatever the labels are."""
    opposite = labels_until_alarm(lambda x: 1 - x, lambda x: x, 1000)
    noise = labels_until_alarm(lambda x: (x * 7919) % 1, lambda x: 0.2, 1000)
    print(opposite, noise)
    assert opposite is not None and noise is not None
    assert None is labels_until_alarm(lambda x: 0.9, lambda x: 0.2, 1000)
    assert None is labels_until_alarm(lambda x: 0.0, lambda x: 0.2, 1000)


def test_one_label_is_no_alarm_however_sure_the_score_was() -> None:
    """A label adds at most log(1 / share); five of them are not enough."""
    losses = LossCollapse()
    for _ in range(1000):
        losses.answered(1.0)
        losses.answered(0.0)
        losses.update(1.0, 1)
    alarms = [losses.update(0.0, 1) for _ in range(math.ceil(math.log(RUN_LENGTH) / math.log(1 / SHARE)) - 1)]
    assert not any(alarms)
    assert "log loss is 2." in str(losses)

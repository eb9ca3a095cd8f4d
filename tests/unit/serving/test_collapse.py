"""When a champion collapses by its labels: the error of the test, and how soon it sees a model that is broken."""

import math
import random

from noria.serving.rollouts.collapse import RUN_LENGTH, SHARE, LossCollapse


def labels_until_alarm(score, truth, labels: int) -> int | None:
    """Labels of rows whose true probability is `truth(x)` and whose score is `score(x)`; None without an alarm."""
    draw, losses = random.Random(1), LossCollapse()
    for count in range(1, labels + 1):
        x = draw.random()
        if losses.update(score(x), int(draw.random() < truth(x))):
            return count
    return None


def test_the_expectation_of_a_labels_factor_is_at_most_one() -> None:
    """For each base rate and score, where the label's probability lies between the score and its mixture."""
    grid = [each / 50 for each in range(1, 50)]
    for base in grid:
        for score in [0.0, 0.001, *grid, 1.0]:
            mixed = (1 - SHARE) * score + SHARE * base
            for truth in (score, (score + mixed) / 2, mixed):
                expected = truth * base / mixed + (1 - truth) * (1 - base) / (1 - mixed)
                assert expected <= 1 + 1e-12


def test_a_model_that_is_right_never_collapses() -> None:
    """Scores that are the labels' probabilities, of rare and of common labels; also a constant base rate."""
    for rate in (0.02, 0.5):
        assert None is labels_until_alarm(lambda x, r=rate: 2 * r * x, lambda x, r=rate: 2 * r * x, 50_000)
    assert None is labels_until_alarm(lambda x: 0.2, lambda x: 0.2, 50_000)


def test_a_broken_model_collapses_soon() -> None:
    """Scores of the opposite, of noise, and of a constant that is far from the base rate."""
    opposite = labels_until_alarm(lambda x: 1 - x, lambda x: x, 1000)
    noise = labels_until_alarm(lambda x: (x * 7919) % 1, lambda x: 0.2, 1000)
    constant = labels_until_alarm(lambda x: 0.9, lambda x: 0.2, 1000)
    print(opposite, noise, constant)
    assert opposite is not None and noise is not None and constant is not None


def test_one_label_is_no_alarm_however_sure_the_score_was() -> None:
    """A label adds at most log(1 / share); five of them are not enough."""
    losses = LossCollapse()
    for _ in range(1000):
        losses.update(1.0, 1)
    alarms = [losses.update(0.0, 1) for _ in range(math.ceil(math.log(RUN_LENGTH) / math.log(1 / SHARE)) - 1)]
    assert not any(alarms)
    assert "log loss is 2." in str(losses)

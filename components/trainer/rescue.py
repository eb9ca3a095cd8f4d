"""The way out of a champion that no longer fits the world: a cold model on the newest span, or a guess.

After an abrupt change the champion's weights are a bad place to start from, and older spans are wrong examples. So if
the champion, before it has learnt the newest span, is clearly worse there than a guess, a model is trained on the
newest span alone, beside the one that continues from the champion. The run's model is the one with the least held-out
loss: the warm one, the cold one, or a guess, which is nearly the base rate alone.

A champion that is about as good as a guess is not wrong: it may know little that can be known, as with the delays of
flights. And where only the shares of the classes have changed, as in a season, it still tells the classes apart. In
both cases a warm run keeps what it knows, and a model of one span would have lost it. Only a champion that had learnt
nothing on its own rows, as from spans of noise, has nothing to lose.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from noria.components import journal
from noria.components.trainer import keras_model, resident
from noria.components.trainer import training_run as runs
from noria.components.trainer.adam import Adam
from noria.components.trainer.checkpoint import Checkpoint
from noria.components.trainer.loop import Loop, Outcome
from noria.components.trainer.network import Network
from noria.components.trainer.reader import Reader
from noria.components.trainer.settings import Settings
from noria.components.trainer.training_rows import Window
from noria.components.trainer.training_run import Run

# The base rate's share where a guess serves. A hundredth is left to the model, so that infra validation sees that it
# reads its features; it costs at most 0.0101 nats a row.
GUESS_SHARE = 0.99
# A model whose skill (1 minus its loss over a guess's) is below this on its own held-out rows has learnt nothing.
LEAST_SKILL = 0.03


@dataclasses.dataclass
class Alarm:
    """How the champion does on the newest span, which it has not seen.

    Attributes:
      champion: mean loss of its scores.
      matched: mean loss of its scores, made to have the span's shares of classes; a guess knows these, too.
      guess: mean loss of the best constant answer.
      skill: of the champion, on its own held-out rows when it was trained; None if it was not measured.
    """

    champion: float
    matched: float
    guess: float
    skill: float | None = None

    def rings(self, settings: Settings) -> bool:
        """Whether a rescue is needed: a champion that had learnt nothing has nothing to lose.

        >>> known, settings = Alarm(0.7, 0.69, 0.69, skill=0.1), Settings(task="binary")
        >>> known.rings(settings), dataclasses.replace(known, skill=0.0).rings(settings)
        (False, True)
        """
        if settings.rescue_above is None:
            return False
        nothing = self.skill is not None and self.skill < LEAST_SKILL
        return self.matched > (1 - LEAST_SKILL if nothing else settings.rescue_above) * self.guess

    def contradicts_the_past(self, chosen: str) -> bool:
        """Whether older rows are wrong examples for the model that was chosen, so that later runs do not replay them.

        They are where the cold model was the best one, or where what the champion had learnt from them was worse than a
        guess. Where the guess was chosen, the newest span may be the exception.
        """
        return chosen == "cold" or (chosen == "warm" and self.matched > self.guess)


def listen(run: Run, train: Window, rows: Reader, saved: Checkpoint | None) -> Alarm:
    """Scores the champion, whose state the run has just loaded, on the newest span.

    Args:
      run: before its first step.
      train: the window; the newest span's rows are its last ones.
      rows: the window's files and their rows.
      saved: the champion's checkpoint.
    """
    newest = sum(rows.rows[file] for file in rows.newest)
    labels = np.asarray(train.labels[-newest:])
    scores, losses = run.machine.loop.served(train, skip=train.rows - newest)
    champion = float(losses.mean(dtype=np.float64))
    matched = champion if run.settings.task == "regression" else matched_loss(scores, labels)
    return Alarm(champion, matched, guess_loss(run, labels), saved.skill if saved is not None else None)


def skill(run: Run, evaluation: Window) -> float | None:
    """1 minus the loss of a run's model over a guess's, on held-out rows; None if there is nothing to learn in them."""
    guess = guess_loss(run, np.asarray(evaluation.labels)) if evaluation.rows else 0.0
    return 1.0 - run.machine.loop.served_loss(evaluation) / guess if guess else None


def matched_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean loss in nats of probabilities whose odds are changed by one factor for each class.

    The factors are those with which the mean probability of each class is its share among the labels. So it is the loss
    of a model that tells the classes apart as before, and knows how frequent they are now (Saerens, Latinne and
    Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori probabilities", equation 2.4; here the
    shares are known).

    Args:
      scores: `[rows, classes]`, or of the second of two classes `[rows, 1]`.
      labels: class numbers `[rows]`.

    >>> scores, labels = np.array([[0.8], [0.6], [0.6], [0.6]]), np.array([1, 0, 0, 0])
    >>> round(matched_loss(scores, labels), 2), round(-np.log([0.8, 0.4, 0.4, 0.4]).mean(), 2)
    (0.4, 0.74)
    """
    likely = np.clip(scores.astype(np.float64), 1e-7, 1.0)
    if likely.shape[1] == 1:
        likely = np.hstack([np.clip(1.0 - likely, 1e-7, 1.0), likely])
    labels = labels.astype(np.int64)
    shares = np.bincount(labels, minlength=likely.shape[1]) / len(labels)
    factors = np.ones_like(shares)
    for _ in range(50):
        matched = likely * factors
        matched /= matched.sum(1, keepdims=True)
        found = matched.mean(0)
        if np.abs(found - shares).max() < 1e-6:
            break
        factors *= shares / np.maximum(found, 1e-12)
        factors /= factors.sum()
    return float(-np.log(np.maximum(matched[np.arange(len(labels)), labels], 1e-7)).mean())


def guess_loss(run: Run, labels: np.ndarray) -> float:
    """Mean loss of the constant that fits the labels best, in the unit of `Loop.served_loss`."""
    if run.settings.task == "regression":
        return float(labels.var(dtype=np.float64)) / float(run.network.output_scale[0]) ** 2
    shares = np.bincount(labels.astype(np.int64)) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def rescue(
    run: Run,
    outcome: Outcome,
    alarm: Alarm,
    newest: Window,
    evaluation: Window,
    stage: Any,
    train: Callable[[Run], Outcome],
) -> tuple[Run, Outcome]:
    """Trains the cold model, and gives the best of warm, cold and guess.

    Args:
      run: the warm run, trained.
      outcome: how its training ended.
      alarm: what rang.
      newest: the newest span's training rows.
      evaluation: the eval split.
      stage: of the journal.
      train: trains a run on `newest`.
    """
    cold = _cold(run, newest)
    ended = train(cold)
    unit = (float(cold.network.output_scale[0]) / float(run.network.output_scale[0])) ** 2
    losses = {
        "warm": run.machine.loop.served_loss(evaluation),
        # The warm run's unit, as a cold run has its own.
        "cold": cold.machine.loop.served_loss(evaluation)
        * (unit if run.settings.task == "regression" else 1),
    }
    best, chosen = ("warm", (run, outcome)) if losses["warm"] <= losses["cold"] else ("cold", (cold, ended))
    share = float(run.network.base_rate_share)
    chosen[0].network.set_base_rate_share(GUESS_SHARE)
    guess = chosen[0].machine.loop.served_loss(evaluation)
    losses["guess"] = guess * (unit if best == "cold" and run.settings.task == "regression" else 1)
    if losses["guess"] < losses[best]:
        best = "guess"
        chosen[0].report["base_rate_share"] = GUESS_SHARE
    else:
        chosen[0].network.set_base_rate_share(share)
    trained = sum(report["examples_trained"] for report in (run.report, cold.report))
    chosen[0].report |= {
        "rescue": {**dataclasses.asdict(alarm), "candidates": losses, "chosen": best},
        "examples_trained": trained,
    }
    journal.logger.warning(
        "Trainer: the champion's loss on the newest span is %.4f, with its label shares %.4f, a guess's %.4f; of warm "
        "%.4f, cold %.4f and guess %.4f on held-out rows, %s is taken",
        *(alarm.champion, alarm.matched, alarm.guess, losses["warm"], losses["cold"], losses["guess"], best),
    )
    stage.note(rescue=best)
    return chosen


def _cold(run: Run, newest: Window) -> Run:
    """A run without a champion, over the same features and the same graph."""
    keras_model.reset_keras(run.settings)
    with run.strategy.scope():
        network = Network(
            run.features, run.settings, keras_model.build(run.features, run.settings, run.family)
        )
        adam = Adam(network.trainable(), run.settings)
    machine = resident.Machine(network, adam, Loop(network, adam, run.strategy, run.settings))
    cold = Run(run.settings, run.features, run.family, machine, run.strategy, {}, run.recipe)
    runs.start_cold(cold, newest)
    cold.report |= {"transform": run.report["transform"], "from_version": run.report["from_version"]}
    for key in ("base_rate", "base_rate_share", "not_finite", "rates"):
        if key in run.report:
            cold.report[key] = run.report[key]
    cold.candidates, cold.records = run.candidates, run.records
    cold.network.base_rate.assign(run.network.base_rate)
    cold.network.base_rate_share.assign(run.network.base_rate_share)
    return cold

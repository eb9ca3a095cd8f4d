"""The train loop: one tf.function that takes many steps a call, and checks on the eval split between calls.

Keras's `fit` costs 2 to 4 ms a step at a batch of 256 rows; this loop's step costs what its ops cost. The
same code runs under every strategy: a step's rows are split among the replicas, their gradients are summed,
so the batches and, except for rounding, the weights are the same on one replica and on many.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from noria.components.libraries import tf
from noria.components.trainer import batches
from noria.components.trainer.adam import Adam
from noria.components.trainer.network import Network
from noria.components.trainer.settings import Settings
from noria.components.trainer.training_rows import Window

Note = Callable[..., None]


@dataclasses.dataclass
class Outcome:
    """How a run's training ended.

    Attributes:
      step: global step of the state that is kept.
      last_step: global step that training reached; later than `step` if an earlier state was better.
      stopped_early: whether patience ran out.
      checks: one entry per check on the eval split: step, loss, auc (binary), seconds.
    """

    step: int
    last_step: int
    stopped_early: bool
    checks: list[dict[str, float]]


class Loop:
    """Trains a network.

    Args:
      network: built within the strategy's scope.
      adam: built within the strategy's scope.
      strategy: a tf.distribute.Strategy, the default one for none.
      settings: the Trainer's settings.
    """

    def __init__(self, network: Network, adam: Adam, strategy: Any, settings: Settings):
        self.network, self.adam, self.strategy, self.settings = network, adam, strategy, settings
        shapes = (
            tf.TensorSpec([None, network.features.width], tf.float32),
            tf.TensorSpec([None, len(network.features.categorical)], tf.int32),
            tf.TensorSpec([None], tf.float32),
        )
        # autograph would rewrite Keras's own code while tracing, for nothing: tf.while_loop is written out.
        self.run = tf.function(
            self._run,
            autograph=False,
            input_signature=[*shapes, tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.int64)],
        )
        self.score = tf.function(self._score, autograph=False, input_signature=list(shapes))

    def _run(self, numeric: Any, ids: Any, labels: Any, index: Any, start: Any) -> tf.Tensor:
        """Takes as many steps as `index` has rows, from global step `start`; gives their mean loss."""
        steps = tf.shape(index)[0]

        def body(i: Any, total: Any) -> tuple[Any, Any]:
            loss = self._step(numeric, ids, labels, index[i], start + tf.cast(i, tf.int64))
            return i + 1, total + loss

        _, total = tf.while_loop(lambda i, _: i < steps, body, (0, 0.0), parallel_iterations=1)
        return total / tf.cast(steps, tf.float32)

    def _step(self, numeric: Any, ids: Any, labels: Any, rows: Any, step: Any) -> tf.Tensor:
        variables = list(self.adam.variables.values())
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        replicas = self.strategy.num_replicas_in_sync

        def replica() -> tuple[Any, list[Any]]:
            mine = rows
            if replicas > 1:
                mine = rows[tf.distribute.get_replica_context().replica_id_in_sync_group :: replicas]
            with tf.GradientTape() as tape:
                logits = self.network.logits(tf.gather(numeric, mine), tf.gather(ids, mine), training=True)
                loss = tf.reduce_sum(self.network.losses(logits, tf.gather(labels, mine))) / count
                if self.network.model.losses:  # the user's regularisation
                    loss += tf.add_n(self.network.model.losses) / replicas
            gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

        loss, gradients = self.strategy.run(replica)
        if replicas > 1:
            pairs = list(zip(gradients, variables, strict=True))
            gradients = self.strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs)
            loss = self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
        self.adam.apply(self.strategy, gradients, step)
        return loss

    def _score(self, numeric: Any, ids: Any, labels: Any) -> tuple[Any, Any, Any]:
        logits = self.network.logits(numeric, ids)
        scores = self.network.score_of(logits)
        return scores, self.network.losses(logits, labels), self.network.losses_of(scores, labels)

    def evaluate(self, window: Window) -> dict[str, float]:
        """Mean loss over all rows of a split, and AUC of a binary task if the split has both classes."""
        scores, losses, labels = [], [], []
        for block in window.blocks():
            score, loss, _ = self.score(block.numeric, block.ids, block.labels)
            scores.append(score.numpy())
            losses.append(loss.numpy())
            labels.append(np.asarray(block.labels))
        found = {"loss": float(np.concatenate(losses).mean(dtype=np.float64))}
        if self.settings.task == "binary":
            area = auc(np.concatenate(labels), np.concatenate(scores)[:, 0])
            found |= {} if np.isnan(area) else {"auc": area}
        return found

    def served(self, window: Window, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Scores as they are served, of a window's rows after the first `skip`: `[rows, outputs]`, losses `[rows]`."""
        scores: list[np.ndarray] = []
        losses: list[np.ndarray] = []
        for block in window.blocks():
            passed, skip = min(skip, block.rows), max(0, skip - block.rows)
            if passed < block.rows:
                rows = (block.numeric[passed:], block.ids[passed:], block.labels[passed:])
                score, _, loss = self.score(*rows)
                scores.append(score.numpy())
                losses.append(loss.numpy())
        return np.concatenate(scores), np.concatenate(losses)

    def served_loss(self, window: Window, skip: int = 0) -> float:
        """Mean loss of the scores as they are served, over a window's rows after the first `skip`."""
        return float(self.served(window, skip)[1].mean(dtype=np.float64))

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of every variable and slot."""
        return {name: v.numpy() for name, v in (self.network.state() | self.adam.state()).items()}

    def restore(self, values: dict[str, np.ndarray]) -> None:
        for name, variable in (self.network.state() | self.adam.state()).items():
            variable.assign(values[name])

    def train(
        self,
        train: Window,
        evaluation: Window | None,
        start: int,
        origin: int,
        steps: int,
        warm: bool,
        note: Note = lambda **_: None,
        log: Note = lambda **_: None,
    ) -> Outcome:
        """Takes up to `steps` steps from global step `start`.

        Args:
          train: the window.
          evaluation: rows that early stop looks at; None for no early stop.
          start: global step to start from.
          origin: global step at which training on this window began (see batches.py).
          steps: steps to take at most.
          warm: the state at the start counts as a candidate for the best one.
          note: gets step, loss and seconds, for people.
          log: gets step and metrics, for TensorBoard.
        """
        stop = self.settings.early_stop if evaluation is not None else None
        every = None
        if stop:
            half_pass = batches.steps_of(0.5, train.rows, self.settings.batch_size)
            # After a few steps on a small table every difference is noise.
            every = stop.every or max(1, half_pass, min(25, steps // 4))
        best = _BestState(self, evaluation, warm)
        if stop and warm:
            best.check(start, log)
        began, step, told = time.monotonic(), start, time.monotonic()
        sizes = list(batches.calls(steps, self.settings.steps_per_call, every))
        for feed in train.feed(origin, step, iter(sizes)):
            loss = self.run(feed.block.numeric, feed.block.ids, feed.block.labels, feed.index, np.int64(step))
            step += len(feed.index)
            loss = float(loss)
            log(step=step, prefix="train", loss=loss)
            done = step - start
            if every and (done % every == 0 or done == steps):
                best.check(step, log)
            if time.monotonic() - told > 1.0 or done == steps:
                told = time.monotonic()
                note(step=step, loss=round(loss, 4), train_seconds=round(told - began, 2), **best.last())
            if stop and best.waited >= stop.patience and (warm or step - best.step >= stop.patience_steps):
                break
        stopped = step - start < steps
        return Outcome(best.restore_best(step), step, stopped, best.checks)


class _BestState:
    """Remembers the best state seen on the eval split."""

    def __init__(self, loop: Loop, evaluation: Window | None, warm: bool):
        self.loop, self.evaluation, self.warm = loop, evaluation, warm
        self.checks: list[dict[str, float]] = []
        self.best: tuple[float, int, dict[str, np.ndarray]] | None = None
        self.waited = 0

    def check(self, step: int, log: Note) -> None:
        stop = self.loop.settings.early_stop
        assert stop is not None and self.evaluation is not None, "there are no checks without early stop"
        began = time.monotonic()
        metrics = self.loop.evaluate(self.evaluation)
        self.checks.append({"step": step, **metrics, "seconds": time.monotonic() - began})
        log(step=step, prefix="eval", **metrics)
        # A split of one class has no AUC; the loss still tells a better state from a worse one.
        badness = -metrics["auc"] if stop.metric == "auc" and "auc" in metrics else metrics["loss"]
        if self.best is None or badness < self.best[0] - stop.min_delta:
            self.best, self.waited = (badness, step, self.loop.snapshot()), 0
        else:
            self.waited += 1

    @property
    def step(self) -> int:
        """The global step of the best state."""
        return self.best[1] if self.best else 0

    def last(self) -> dict[str, float]:
        if not self.checks:
            return {}
        return {
            f"eval_{name}": round(self.checks[-1][name], 4)
            for name in ("loss", "auc")
            if name in self.checks[-1]
        }

    def restore_best(self, step: int) -> int:
        """Restores the best state; gives its global step."""
        if self.best is None or self.best[1] == step:
            return step
        self.loop.restore(self.best[2])
        return self.best[1]


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, exact: the Mann-Whitney statistic with ties counted half; nan for one class.

    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    values, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positive = labels > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    return float((ranks[places.ravel()][positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))

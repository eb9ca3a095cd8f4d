"""A model with what comes before and after it: the champion's normalization, and logits to scores.

The Network owns a few vectors that no gradient touches. `input_scale` and `input_shift` (`[F]`) undo what a refreshed
transform graph did to the numbers: the weights keep their meaning (see normalization.py). A missing value that was
filled with the mean is not on that line, since the mean has moved: where a number is exactly `input_missing` (`[F]`, at
first a number that never comes), the model sees `input_filled` (`[F]`). Then all numbers are clipped: after the line
and outside of the transform graph, so that graphs stay comparable. `output_scale` and `output_shift` (`[outputs]`) hold
what a cold run saw of the label: the log odds of the classes, or mean and deviation of a regression's label; the model
learns the difference. `base_rate` (`[outputs]`) is the share of each class in the newest spans, or the mean of a
regression's labels; `base_rate_share` is its part in every score. The part is small; it is 0 in a regression, whose
loss has no bound that a part of the mean would give; it is 0.99 where no model is better than a guess (rescue.py).
"""

from typing import Any

import numpy as np

from noria.components.libraries import tf
from noria.components.trainer import normalization
from noria.components.trainer.keras_model import input_names
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings


class Network:
    """Variables by stable names, scores and losses of a model.

    Args:
      features: what the model reads.
      settings: task and number of outputs.
      model: Keras model that gives logits `[batch, outputs]`.
    """

    def __init__(self, features: Features, settings: Settings, model: Any):
        self.features, self.settings, self.model = features, settings, model
        self.input_scale = _fixed(np.ones(features.width), "input_scale")
        self.input_shift = _fixed(np.zeros(features.width), "input_shift")
        self.input_missing = _fixed(np.full(features.width, normalization.NEVER), "input_missing")
        self.input_filled = _fixed(np.zeros(features.width), "input_filled")
        self.output_scale = _fixed(np.ones(settings.outputs), "output_scale")
        self.output_shift = _fixed(np.zeros(settings.outputs), "output_shift")
        self.base_rate = _fixed(np.full(settings.outputs, 1 / max(2, settings.outputs)), "base_rate")
        self.base_rate_share = _fixed(np.zeros(()), "base_rate_share")

    def logits(self, numeric: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits `[batch, outputs]`, or `[batch, members, outputs]`; of a regression the label in its own units.

        A number that is not finite counts as 0, the mean of a z-score.
        """
        numeric = tf.where(tf.math.is_finite(numeric), numeric, 0.0)
        moved = numeric * self.input_scale + self.input_shift
        numeric = tf.where(tf.equal(numeric, self.input_missing), self.input_filled, moved)
        numeric = tf.clip_by_value(numeric, -normalization.CLIP, normalization.CLIP)
        return self._model(numeric, ids, training) * self.output_scale + self.output_shift

    def _model(self, numeric: tf.Tensor, ids: tf.Tensor, training: bool) -> tf.Tensor:
        columns = self.features.numeric_columns()
        places = {feature.name: i for i, feature in enumerate(self.features.categorical)}
        inputs = {}
        for name in input_names(self.model):
            if name == "numeric":
                inputs[name] = numeric
            elif name == "categorical":
                inputs[name] = ids
            elif name in columns:
                inputs[name] = numeric[:, columns[name]]
            else:
                inputs[name] = ids[:, places[name] : places[name] + 1]
        return self.model(inputs, training=training)

    def scores(self, numeric: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Binary: probability `[batch, 1]`; multiclass: one per class; regression: value `[batch, 1]`."""
        return self.score_of(self.logits(numeric, ids))

    def score_of(self, logits: tf.Tensor) -> tf.Tensor:
        """Scores of logits `[batch, outputs]`, the mean of the members', with their part of the base rate."""
        scores = self._alone(logits)
        return (1.0 - self.base_rate_share) * scores + self.base_rate_share * self.base_rate

    def logit_of(self, logits: tf.Tensor) -> tf.Tensor:
        """The model's answer without the base rate as one logit for each output: `[batch, outputs]`."""
        if len(logits.shape) == 2:
            return logits
        scores = self._alone(logits)
        if self.settings.task == "regression":
            return scores
        scores = tf.clip_by_value(scores, 1e-7, 1.0 - 1e-7)
        return tf.math.log(scores) - (tf.math.log1p(-scores) if self.settings.task == "binary" else 0.0)

    def _alone(self, logits: tf.Tensor) -> tf.Tensor:
        if self.settings.task == "regression":
            scores = logits
        else:
            scores = tf.sigmoid(logits) if self.settings.task == "binary" else tf.nn.softmax(logits)
        return scores if len(scores.shape) == 2 else tf.reduce_mean(scores, 1)

    def losses(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Loss per row `[batch]`, the mean of the members': cross entropy in nats, or squared error in the label's
        deviations.
        """
        if len(logits.shape) == 3:
            members = logits.shape[1]
            flat = self.losses(
                tf.reshape(logits, [-1, self.settings.outputs]), tf.repeat(labels, members, axis=0)
            )
            return tf.reduce_mean(tf.reshape(flat, [-1, members]), 1)
        if self.settings.task == "binary":
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0])
        if self.settings.task == "multiclass":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
        return tf.square((logits[:, 0] - labels) / self.output_scale[0])

    def losses_of(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Loss of each row's score `[batch]`, in the unit of `losses`; probabilities are clipped at 1e-7."""
        if self.settings.task == "regression":
            return tf.square((scores[:, 0] - labels) / self.output_scale[0])
        if self.settings.task == "binary":
            likely = tf.where(labels > 0.5, scores[:, 0], 1.0 - scores[:, 0])
        else:
            likely = tf.gather(scores, tf.cast(labels, tf.int32), batch_dims=1)
        return -tf.math.log(tf.maximum(likely, 1e-7))

    def start_from_labels(self, labels: np.ndarray) -> None:
        """Sets the output vectors from the labels of a cold run's window `[rows]`."""
        if self.settings.task == "regression":
            deviation = float(labels.std())
            self.output_scale.assign([deviation if deviation > 0 else 1.0])
            self.output_shift.assign([float(labels.mean())])
            return
        classes = 2 if self.settings.task == "binary" else self.settings.classes
        shares = (np.bincount(labels.astype(np.int64), minlength=classes)[:classes] + 1.0) / (
            len(labels) + classes
        )
        odds = [np.log(shares[1] / shares[0])] if self.settings.task == "binary" else np.log(shares)
        self.output_shift.assign(np.asarray(odds, np.float32))

    def add_classes(self, labels: np.ndarray, known: int) -> None:
        """Sets the output vectors of classes that the champion does not know.

        With weights of 0 each one gets its share among the labels, where the logits of the others make a whole.

        Args:
          labels: class numbers of the window's rows `[rows]`.
          known: the number of the champion's classes, which come first.
        """
        classes = self.settings.outputs
        counts = np.bincount(labels.astype(np.int64), minlength=classes)[:classes] + 1.0
        shares = counts[known:] / counts.sum()
        scale, shift = self.output_scale.numpy(), self.output_shift.numpy()
        scale[known:], shift[known:] = 1.0, np.log(shares / (1.0 - shares))
        self.output_scale.assign(scale)
        self.output_shift.assign(shift)

    def set_inputs(self, inputs: normalization.Inputs) -> None:
        """Sets the input vectors."""
        for name in ("scale", "shift", "missing", "filled"):
            getattr(self, f"input_{name}").assign(getattr(inputs, name).astype(np.float32))

    def set_base_rate(self, shares: np.ndarray) -> None:
        """Sets the base rate from the share of each class `[classes]`, or the mean of numbers `[1]`."""
        self.base_rate.assign(shares[1:] if self.settings.task == "binary" else shares)

    def set_base_rate_share(self, share: float) -> None:
        """Sets the part of the base rate in every score, 0 to 1."""
        self.base_rate_share.assign(share)

    def state(self) -> dict[str, Any]:
        """Every variable but the optimizer's, trainable or not, by its stable name: tf.Variables."""
        found = {
            "noria/input_scale": self.input_scale,
            "noria/input_shift": self.input_shift,
            "noria/input_missing": self.input_missing,
            "noria/input_filled": self.input_filled,
            "noria/output_scale": self.output_scale,
            "noria/output_shift": self.output_shift,
            "noria/base_rate": self.base_rate,
            "noria/base_rate_share": self.base_rate_share,
        }
        found.update(named(self.model.variables))
        return found

    def trainable(self) -> dict[str, Any]:
        """The trainable variables by their stable names: tf.Variables."""
        return named(self.model.trainable_variables, named_all=named(self.model.variables))


def named(variables: list[Any], named_all: dict[str, Any] | None = None) -> dict[str, Any]:
    """tf.Variables by their paths in Keras; one that comes again gets `#2`, `#3`, in the model's order."""
    if named_all is not None:
        names = {id(value): name for name, value in named_all.items()}
        return {names[id(v.value)]: v.value for v in variables}
    found: dict[str, Any] = {}
    for variable in variables:
        name, count = variable.path, 2
        while name in found:
            name, count = f"{variable.path}#{count}", count + 1
        found[name] = variable.value
    return found


def _fixed(value: np.ndarray, name: str) -> Any:
    return tf.Variable(value.astype(np.float32), trainable=False, name=name)

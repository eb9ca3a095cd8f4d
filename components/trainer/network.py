"""A model with what goes before and after it: the carried normalisation, and logits to scores.

The Network owns a few vectors that no gradient touches. `input_scale` and `input_shift` (`[F]`, at first 1
and 0) undo what a refreshed transform graph did to the numbers: the weights keep meaning what they meant. A
missing value filled with the mean does not lie on that line, since the mean has moved: where a number is
exactly `input_missing` (`[F]`, at first a number that never comes), the model sees `input_filled` (`[F]`).
`output_scale` and `output_shift` (`[outputs]`) hold what a cold run saw of the label: the log odds of the
classes, or mean and deviation of a regression's label; the model learns the difference.
"""

from typing import Any

import numpy as np

from noria.components.keras3 import ensure_keras3
from noria.components.trainer.families import input_names
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings

tf = ensure_keras3()

NEVER = float(np.finfo(np.float32).min)  # not NaN, so that two states can be compared


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
        self.input_missing = _fixed(np.full(features.width, NEVER), "input_missing")
        self.input_filled = _fixed(np.zeros(features.width), "input_filled")
        self.output_scale = _fixed(np.ones(settings.outputs), "output_scale")
        self.output_shift = _fixed(np.zeros(settings.outputs), "output_shift")

    def logits(self, numeric: tf.Tensor, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits `[batch, outputs]`; of a regression the label in its own units."""
        moved = numeric * self.input_scale + self.input_shift
        numeric = tf.where(tf.equal(numeric, self.input_missing), self.input_filled, moved)
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
        if self.settings.task == "binary":
            return tf.sigmoid(logits)
        return tf.nn.softmax(logits) if self.settings.task == "multiclass" else logits

    def losses(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Loss per row `[batch]`: cross entropy in nats, or squared error in the label's deviations."""
        if self.settings.task == "binary":
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0])
        if self.settings.task == "multiclass":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
        return tf.square((logits[:, 0] - labels) / self.output_scale[0])

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

    def state(self) -> dict[str, Any]:
        """Every variable but the optimizer's, trainable or not, by its stable name: tf.Variables."""
        found = {
            "noria/input_scale": self.input_scale,
            "noria/input_shift": self.input_shift,
            "noria/input_missing": self.input_missing,
            "noria/input_filled": self.input_filled,
            "noria/output_scale": self.output_scale,
            "noria/output_shift": self.output_shift,
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


def by_id(name: str, shape: tuple[int, ...], features: Features) -> str | None:
    """The categorical feature whose ids number the rows of a variable, or None (see models.py)."""
    parts = set(name.split("#")[0].split("/"))
    for feature in features.categorical:
        marks = {f"embedding_{feature.key}", f"wide_{feature.key}"}
        if parts & marks and len(shape) > 0 and shape[0] == feature.rows:
            return feature.name
    return None


def _fixed(value: np.ndarray, name: str) -> Any:
    return tf.Variable(value.astype(np.float32), trainable=False, name=name)

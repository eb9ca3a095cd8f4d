"""The layers of model families."""

import math
from typing import Any

import numpy as np

from noria.components.libraries import keras, tf
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings


class IdTables(keras.layers.Layer):
    """One table for each categorical feature; gives the rows of a batch side by side, or their sum.

    All tables are in one layer, because Keras's cost of tracing is per layer (10 Embedding layers: 0.1 s).

    Args:
      features: what the model reads.
      prefix: a table's name is `<prefix>_<feature>`.
      widths: columns of each table.
      add: whether the rows are added up.
      start: Keras's name of the initializer.
    """

    def __init__(
        self, features: Features, prefix: str, widths: list[int], add: bool, start: str, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.features, self.prefix, self.widths, self.add, self.start = features, prefix, widths, add, start

    def build(self, shape: Any) -> None:
        self.tables = [
            self.add_weight(
                shape=(feature.rows, width), initializer=self.start, name=f"{self.prefix}_{feature.key}"
            )
            for feature, width in zip(self.features.categorical, self.widths, strict=True)
        ]
        self.built = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        rows = [tf.gather(table.value, ids[:, i]) for i, table in enumerate(self.tables)]
        return tf.add_n(rows) if self.add else tf.concat(rows, 1)

    def compute_output_shape(self, shape: Any) -> tuple[int | None, int]:
        return (shape[0], self.widths[0] if self.add else sum(self.widths))


class Cross(keras.layers.Layer):
    """x_{l+1} = x_0 * (W x_l + b) + x_l (arXiv:2008.13535, equation 1)."""

    def build(self, shape: Any) -> None:
        width = shape[0][-1]
        self.kernel = self.add_weight(shape=(width, width), initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        first, last = inputs
        return first * (tf.matmul(last, self.kernel.value) + self.bias.value) + last

    def compute_output_shape(self, shape: Any) -> Any:
        return shape[0]


class Codes(keras.layers.Layer):
    """A number as itself and its pieces: `[batch, F]` to `[batch, F * (1 + pieces)]`, the numbers first.

    `low` and `slope` are `[F, pieces]`; until `TabM.fit_numbers` sets them, the pieces are equal parts of -3 to 3.
    """

    def __init__(self, width: int, pieces: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.pieces = width, pieces

    def build(self, shape: Any) -> None:
        size = (self.width, self.pieces)
        edges = np.linspace(-3, 3, self.pieces + 1)
        self.low = self.add_weight(shape=size, trainable=False, initializer="zeros", name="low")
        self.low.assign(np.broadcast_to(edges[:-1], size))
        self.slope = self.add_weight(shape=size, trainable=False, initializer="zeros", name="slope")
        self.slope.assign(np.full(size, self.pieces / 6))
        self.built = True

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        low, slope = self.low.value, self.slope.value
        codes = tf.clip_by_value((numbers[:, :, None] - low) * slope, 0.0, 1.0)
        codes -= tf.clip_by_value(-low * slope, 0.0, 1.0)
        return tf.concat([numbers, tf.reshape(codes, [-1, self.width * self.pieces])], 1)

    def compute_output_shape(self, shape: Any) -> tuple[int | None, int]:
        return (shape[0], self.width * (1 + self.pieces))


class Members(keras.layers.Layer):
    """Each member's view of the inputs, times factors, at first signs: `[batch, d]` to `[batch * members, d]`.

    A member's view is a row: with members as a dimension, TensorFlow makes the gradient of the next layer's weights for
    each row of the batch and adds them up, which takes most of a step on 1,500 columns.
    """

    def __init__(self, members: int, seed: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.members, self.seed = members, seed

    def build(self, shape: Any) -> None:
        signs = np.random.default_rng(self.seed).choice([-1.0, 1.0], (self.members, shape[-1]))
        self.factors = self.add_weight(shape=signs.shape, initializer="ones", name="factors")
        self.factors.assign(signs)
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.reshape(inputs[:, None, :] * self.factors.value, [-1, inputs.shape[-1]])

    def compute_output_shape(self, shape: Any) -> tuple[None, int]:
        return (None, shape[-1])


class Heads(keras.layers.Layer):
    """An output layer for each member: `[batch * members, d]` to logits `[batch, members, outputs]`."""

    def __init__(self, members: int, outputs: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.members, self.outputs = members, outputs

    def build(self, shape: Any) -> None:
        width = shape[-1]
        size = (self.members, width, self.outputs)
        limit = 1 / math.sqrt(width)
        start = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(shape=size, initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(self.members, self.outputs), initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        views = tf.reshape(inputs, [-1, self.members, inputs.shape[-1]])
        return tf.einsum("bmd,mdo->bmo", views, self.kernel.value) + self.bias.value

    def compute_output_shape(self, shape: Any) -> tuple[None, int, int]:
        return (None, self.members, self.outputs)


def inputs(features: Features) -> dict[str, Any]:
    """The inputs `numeric` and `categorical`; one that no feature feeds is absent."""
    found = {}
    if features.numeric:
        found["numeric"] = keras.Input((features.width,), dtype="float32", name="numeric")
    if features.categorical:
        count = len(features.categorical)
        found["categorical"] = keras.Input((count,), dtype="int32", name="categorical")
    return found


def dense_input(inputs: dict[str, Any], features: Features) -> Any:
    """Embeddings, then numbers, side by side."""
    parts = []
    if "categorical" in inputs:
        widths = [feature.width for feature in features.categorical]
        tables = IdTables(features, "embedding", widths, False, "random_uniform", name="embeddings")
        parts.append(tables(inputs["categorical"]))
    if "numeric" in inputs:
        parts.append(inputs["numeric"])
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="dense_input")(parts)


def numbers_begin(features: Features) -> int:
    """The column of `dense_input` that holds the first number."""
    return sum(feature.width for feature in features.categorical)


def dense_layers(x: Any, settings: Settings) -> Any:
    """`deep_0`, `deep_1` and so on: ReLU layers of `settings.hidden_units`, each with dropout."""
    assert settings.hidden_units is not None, "`keras_model.resolved` sets it"
    for i, units in enumerate(settings.hidden_units):
        x = keras.layers.Dense(units, activation="relu", name=f"deep_{i}")(x)
        if settings.dropout:
            x = keras.layers.Dropout(settings.dropout, seed=settings.seed + i, name=f"dropout_{i}")(x)
    return x

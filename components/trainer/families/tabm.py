"""TabM-mini: some networks in one, over piecewise linear codes of the numbers.

Gorishniy et al. 2024, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling" (arXiv:2410.24210):
members share all dense layers; each multiplies the inputs with its own signs, and has its own output layer.
Each is trained on its own loss, and a score is the mean of theirs. The codes are those of Gorishniy et al. 2022
(arXiv:2203.05556, section 3.2): between quantiles of its first window a number goes from 0 to 1. They are moved so that
0, the mean and what a missing value counts as, has the code 0.
"""

import math
from typing import Any

import numpy as np

from noria.components.libraries import keras, tf
from noria.components.trainer import layers
from noria.components.trainer.families.base import Family
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings

# Eight members and eight pieces a number, or fewer where there are many inputs: time grows with both.
MEMBERS, PIECES = 8, 8
MOST_CODES, MOST_INPUTS = 512, 4096
TINY = 1e-6  # in deviations; a shorter piece has no slope


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
    """Each member's view of the inputs, times factors, at first signs: `[batch, d]` to `[batch, members, d]`."""

    def __init__(self, members: int, seed: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.members, self.seed = members, seed

    def build(self, shape: Any) -> None:
        signs = np.random.default_rng(self.seed).choice([-1.0, 1.0], (self.members, shape[-1]))
        self.factors = self.add_weight(shape=signs.shape, initializer="ones", name="factors")
        self.factors.assign(signs)
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs[:, None, :] * self.factors.value

    def compute_output_shape(self, shape: Any) -> tuple[int | None, int, int]:
        return (shape[0], self.members, shape[-1])


class Heads(keras.layers.Layer):
    """An output layer for each member: `[batch, members, d]` to logits `[batch, members, outputs]`."""

    def __init__(self, outputs: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.outputs = outputs

    def build(self, shape: Any) -> None:
        _, members, width = shape
        limit = 1 / math.sqrt(width)
        start = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(shape=(members, width, self.outputs), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(members, self.outputs), initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.einsum("bmd,mdo->bmo", inputs, self.kernel.value) + self.bias.value

    def compute_output_shape(self, shape: Any) -> tuple[int | None, int, int]:
        return (shape[0], shape[1], self.outputs)


class TabM(Family):
    """Dense layers that some members share, over embeddings and codes of numbers."""

    hidden_units = (96, 96)
    dropout = 0.1
    learning_rate = 3e-3
    min_steps = 4000

    def build(self, features: Features, settings: Settings) -> Any:
        inputs, parts = layers.inputs(features), []
        if "categorical" in inputs:
            widths = [feature.width for feature in features.categorical]
            tables = layers.IdTables(
                features, "embedding", widths, False, "random_uniform", name="embeddings"
            )
            parts.append(tables(inputs["categorical"]))
        if "numeric" in inputs:
            pieces = _pieces(features)
            numbers = inputs["numeric"]
            parts.append(Codes(features.width, pieces, name="codes")(numbers) if pieces else numbers)
        x = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="dense_input")(parts)
        members = max(2, min(MEMBERS, MOST_INPUTS // x.shape[-1]))
        x = Members(members, settings.seed, name="members")(x)
        x = layers.dense_layers(x, settings)
        return keras.Model(inputs, Heads(settings.outputs, name="logits")(x), name="tabm")

    def numeric_rows(self, variable: str, shape: tuple[int, ...], features: Features) -> np.ndarray | None:
        if variable != "deep_0/kernel":
            return None
        numbers = np.arange(features.width)[:, None]
        pieces = _pieces(features)
        codes = features.width + numbers * pieces + np.arange(pieces)
        return layers.numbers_begin(features) + np.concatenate([numbers, codes], 1)

    def fit_numbers(self, model: Any, numbers: np.ndarray, columns: list[int]) -> None:
        if not len(numbers) or not any(layer.name == "codes" for layer in model.layers):
            return
        layer = model.get_layer("codes")
        low, slope = layer.low.numpy(), layer.slope.numpy()
        edges = np.quantile(numbers[:, columns], np.linspace(0, 1, layer.pieces + 1), axis=0).T
        length = np.diff(edges, axis=1)
        low[columns] = edges[:, :-1]
        slope[columns] = np.where(length > TINY, 1 / np.maximum(length, TINY), 0.0)
        layer.low.assign(low)
        layer.slope.assign(slope)


def _pieces(features: Features) -> int:
    return min(PIECES, max(0, MOST_CODES // max(1, features.width) - 1))

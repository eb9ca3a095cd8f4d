"""Deep & Cross Network v2 in parallel (Wang et al. 2020, arXiv:2008.13535, section 3.3)."""

import re
from typing import Any

import numpy as np

from noria.components.libraries import keras, tf
from noria.components.trainer import layers
from noria.components.trainer.families.base import Family
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings


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


class DeepCross(Family):
    """Cross layers beside dense layers, both over embeddings and numbers."""

    def build(self, features: Features, settings: Settings) -> Any:
        inputs = layers.inputs(features)
        first = layers.dense_input(inputs, features)
        crossed = first
        for i in range(settings.cross_layers):
            crossed = Cross(name=f"cross_{i}")([first, crossed])
        if settings.dropout:
            drop = keras.layers.Dropout(settings.dropout, seed=settings.seed - 1, name="dropout_cross")
            crossed = drop(crossed)
        deep = layers.dense_layers(first, settings)
        joined = keras.layers.Concatenate(name="joined")([crossed, deep])
        logits = keras.layers.Dense(settings.outputs, name="logits")(joined)
        return keras.Model(inputs, logits, name="dcn")

    def numeric_rows(self, variable: str, shape: tuple[int, ...], features: Features) -> np.ndarray | None:
        # The joined layer begins with the crossed input, in the input's order.
        if re.fullmatch(r"(deep_0|cross_\d+|logits)/kernel", variable):
            return layers.numbers_begin(features) + np.arange(features.width)[:, None]
        return None

"""Deep & Cross Network v2 in parallel (Wang et al. 2020, arXiv:2008.13535, section 3.3)."""

import re
from typing import TYPE_CHECKING, Any

from noria.components.trainer.families.base import Family

if TYPE_CHECKING:  # the config reads the families' defaults at every start
    import numpy as np

    from noria.components.trainer.model_inputs import Features
    from noria.components.trainer.settings import Settings


class DeepCross(Family):
    """Cross layers beside dense layers, both over embeddings and numbers."""

    def build(self, features: "Features", settings: "Settings") -> Any:
        from noria.components.libraries import keras
        from noria.components.trainer import layers

        inputs = layers.inputs(features)
        first = layers.dense_input(inputs, features)
        crossed = first
        for i in range(settings.cross_layers):
            crossed = layers.Cross(name=f"cross_{i}")([first, crossed])
        if settings.dropout:
            drop = keras.layers.Dropout(settings.dropout, seed=settings.seed - 1, name="dropout_cross")
            crossed = drop(crossed)
        deep = layers.dense_layers(first, settings)
        joined = keras.layers.Concatenate(name="joined")([crossed, deep])
        logits = keras.layers.Dense(settings.outputs, name="logits")(joined)
        return keras.Model(inputs, logits, name="dcn")

    def numeric_rows(
        self, variable: str, shape: tuple[int, ...], features: "Features"
    ) -> "np.ndarray | None":
        import numpy as np

        from noria.components.trainer import layers

        # The joined layer begins with the crossed input, in the input's order.
        if re.fullmatch(r"(deep_0|cross_\d+|logits)/kernel", variable):
            return layers.numbers_begin(features) + np.arange(features.width)[:, None]
        return None

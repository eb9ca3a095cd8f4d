"""Wide & Deep (Cheng et al. 2016, arXiv:1606.07792): a weight for each id and number, plus a deep network."""

from typing import TYPE_CHECKING, Any

from noria.components.trainer.families.base import Family

if TYPE_CHECKING:  # the config reads the families' defaults at every start
    import numpy as np

    from noria.components.trainer.model_inputs import Features
    from noria.components.trainer.settings import Settings


class WideDeep(Family):
    """Linear in all ids and numbers, plus dense layers over embeddings and numbers."""

    def build(self, features: "Features", settings: "Settings") -> Any:
        from noria.components.libraries import keras
        from noria.components.trainer import layers

        inputs = layers.inputs(features)
        deep = layers.dense_layers(layers.dense_input(inputs, features), settings)
        logits = [keras.layers.Dense(settings.outputs, name="deep_logits")(deep)]
        if "categorical" in inputs:
            widths = [settings.outputs] * len(features.categorical)
            wide = layers.IdTables(features, "wide", widths, True, "zeros", name="wide")
            logits.append(wide(inputs["categorical"]))
        if "numeric" in inputs:
            linear = keras.layers.Dense(
                settings.outputs, use_bias=False, kernel_initializer="zeros", name="wide_numeric"
            )
            logits.append(linear(inputs["numeric"]))
        output = logits[0] if len(logits) == 1 else keras.layers.Add(name="logits")(logits)
        return keras.Model(inputs, output, name="wide_deep")

    def numeric_rows(
        self, variable: str, shape: tuple[int, ...], features: "Features"
    ) -> "np.ndarray | None":
        import numpy as np

        from noria.components.trainer import layers

        if variable not in ("wide_numeric/kernel", "deep_0/kernel"):
            return None
        first = 0 if variable == "wide_numeric/kernel" else layers.numbers_begin(features)
        return first + np.arange(features.width)[:, None]

"""TabM-mini: some networks in one, over piecewise linear codes of the numbers.

Gorishniy et al. 2024, "TabM: Advancing Tabular Deep Learning with Parameter-Efficient Ensembling" (arXiv:2410.24210):
members share all dense layers; each multiplies the inputs with its own signs, and has its own output layer.
Each is trained on its own loss, and a score is the mean of theirs. The codes are those of Gorishniy et al. 2022
(arXiv:2203.05556, section 3.2): between quantiles of its first window a number goes from 0 to 1. They are moved so that
0, the mean and what a missing value counts as, has the code 0.
"""

from typing import TYPE_CHECKING, Any

from noria.components.trainer.families.base import Family

if TYPE_CHECKING:  # the config reads the families' defaults at every start
    import numpy as np

    from noria.components.trainer.model_inputs import Features
    from noria.components.trainer.settings import Settings

# Eight members and eight pieces a number, or fewer where there are many inputs: time grows with both.
MEMBERS, PIECES = 8, 8
MOST_CODES, MOST_INPUTS = 512, 4096
TINY = 1e-6  # in deviations; a shorter piece has no slope


class TabM(Family):
    """Dense layers that some members share, over embeddings and codes of numbers."""

    hidden_units = (96, 96)
    dropout = 0.1
    learning_rate = 3e-3
    min_steps = 4000

    def build(self, features: "Features", settings: "Settings") -> Any:
        from noria.components.libraries import keras
        from noria.components.trainer import layers

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
            parts.append(layers.Codes(features.width, pieces, name="codes")(numbers) if pieces else numbers)
        x = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="dense_input")(parts)
        members = max(2, min(MEMBERS, MOST_INPUTS // x.shape[-1]))
        x = layers.Members(members, settings.seed, name="members")(x)
        x = layers.dense_layers(x, settings)
        return keras.Model(inputs, layers.Heads(members, settings.outputs, name="logits")(x), name="tabm")

    def numeric_rows(
        self, variable: str, shape: tuple[int, ...], features: "Features"
    ) -> "np.ndarray | None":
        import numpy as np

        from noria.components.trainer import layers

        if variable != "deep_0/kernel":
            return None
        numbers = np.arange(features.width)[:, None]
        pieces = _pieces(features)
        codes = features.width + numbers * pieces + np.arange(pieces)
        return layers.numbers_begin(features) + np.concatenate([numbers, codes], 1)

    def fit_numbers(self, model: Any, numbers: "np.ndarray", columns: list[int]) -> None:
        import numpy as np

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


def _pieces(features: "Features") -> int:
    return min(PIECES, max(0, MOST_CODES // max(1, features.width) - 1))

"""The layers that model families share."""

from typing import Any

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

"""The model families, as Keras 3 functional models over two inputs.

`categorical` int32 `[batch, C]` holds ids from 0, `numeric` float32 `[batch, F]` the numbers; each is left
out where there is no such feature. The output is logits `[batch, outputs]`: what turns them into scores
belongs to the Network. A user's `build_model(features, settings)` may use the same two inputs, or inputs
named as the features, each `[batch, 1]` (or `[batch, width]`).

An Embedding should be `feature.width` wide, which a warm run keeps. A variable whose path has a part
`embedding_<feature>` or `wide_<feature>`, and as many rows as the feature has ids, is known to be indexed by
id: that is how a refreshed vocabulary finds the rows to move.
"""

from collections.abc import Callable
from typing import Any

from noria.components.keras3 import ensure_keras3
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.settings import Settings
from noria.core.errors import ConfigError
from noria.core.user_code import load_function

tf = ensure_keras3()
keras = tf.keras


class IdTables(keras.layers.Layer):
    """One table per categorical feature; gives the rows of a batch side by side, or their sum.

    All tables in one layer, since Keras's own cost of tracing is per layer (10 Embedding layers: 0.1 s).
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


def _inputs(features: Features) -> dict[str, Any]:
    inputs = {}
    if features.numeric:
        inputs["numeric"] = keras.Input((features.width,), dtype="float32", name="numeric")
    if features.categorical:
        count = len(features.categorical)
        inputs["categorical"] = keras.Input((count,), dtype="int32", name="categorical")
    return inputs


def _dense_input(inputs: dict[str, Any], features: Features) -> Any:
    """Embeddings and numbers, side by side."""
    parts = []
    if "categorical" in inputs:
        widths = [feature.width for feature in features.categorical]
        tables = IdTables(features, "embedding", widths, False, "random_uniform", name="embeddings")
        parts.append(tables(inputs["categorical"]))
    if "numeric" in inputs:
        parts.append(inputs["numeric"])
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="dense_input")(parts)


def _deep(x: Any, settings: Settings) -> Any:
    for i, units in enumerate(settings.hidden_units):
        x = keras.layers.Dense(units, activation="relu", name=f"deep_{i}")(x)
        if settings.dropout:
            x = keras.layers.Dropout(settings.dropout, seed=settings.seed + i, name=f"dropout_{i}")(x)
    return x


def wide_deep(features: Features, settings: Settings) -> Any:
    """Wide & Deep (Cheng et al. 2016, arXiv:1606.07792): a weight per id and number, plus a deep network."""
    inputs = _inputs(features)
    deep = _deep(_dense_input(inputs, features), settings)
    logits = [keras.layers.Dense(settings.outputs, name="deep_logits")(deep)]
    if "categorical" in inputs:
        widths = [settings.outputs] * len(features.categorical)
        logits.append(IdTables(features, "wide", widths, True, "zeros", name="wide")(inputs["categorical"]))
    if "numeric" in inputs:
        linear = keras.layers.Dense(
            settings.outputs, use_bias=False, kernel_initializer="zeros", name="wide_numeric"
        )
        logits.append(linear(inputs["numeric"]))
    output = logits[0] if len(logits) == 1 else keras.layers.Add(name="logits")(logits)
    return keras.Model(inputs, output, name="wide_deep")


class Cross(keras.layers.Layer):
    """x_{l+1} = x_0 * (W x_l + b) + x_l (DCN V2, Wang et al. 2020, arXiv:2008.13535, equation 1)."""

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


def dcn(features: Features, settings: Settings) -> Any:
    """Deep & Cross v2 in parallel (arXiv:2008.13535, section 3.3): cross layers beside a deep network."""
    inputs = _inputs(features)
    first = _dense_input(inputs, features)
    crossed = first
    for i in range(settings.cross_layers):
        crossed = Cross(name=f"cross_{i}")([first, crossed])
    if settings.dropout:
        crossed = keras.layers.Dropout(settings.dropout, seed=settings.seed - 1, name="dropout_cross")(
            crossed
        )
    joined = keras.layers.Concatenate(name="joined")([crossed, _deep(first, settings)])
    return keras.Model(inputs, keras.layers.Dense(settings.outputs, name="logits")(joined), name="dcn")


FAMILIES = {"wide_deep": wide_deep, "dcn": dcn}


def start_afresh(settings: Settings) -> None:
    """Makes the next `build` give the same names and initial weights as the first one in a fresh process.

    Call it outside any strategy's scope: it replaces the default graph, which knows the scope.
    """
    # Keras numbers layers without a name over the whole process: the second run would get other names.
    keras.backend.clear_session(free_memory=False)  # collecting garbage takes 0.2 s
    keras.utils.set_random_seed(settings.seed)


def family(settings: Settings, project: str | None = None) -> Callable[[Features, Settings], Any]:
    """The function that builds the model: the user's, or the family's.

    Raises:
      ConfigError: `build_model` cannot be imported.
    """
    if not settings.build_model:
        return FAMILIES[settings.family]
    return load_function(settings.build_model, project, key="trainer.build_model")


def build(features: Features, settings: Settings, function: Callable[[Features, Settings], Any]) -> Any:
    """Builds the model by `family`'s function; after `start_afresh` with the same variable names every time.

    Raises:
      ConfigError: the user's model has other inputs or another output than described above.
    """
    model = function(features, settings)
    if not settings.build_model:
        return model
    where = f"config key trainer.build_model: {settings.build_model}"
    if not isinstance(model, keras.Model):
        raise ConfigError(f"build_model must return a keras.Model, got {type(model).__name__}", where=where)
    known = {"numeric", "categorical", *features.names}
    unknown = sorted(set(input_names(model)) - known)
    if unknown:
        raise ConfigError(
            f"the model has inputs {unknown}; there are {sorted(known)}",
            where=where,
            next_step="name its keras.Input layers after the features, or use 'numeric' and 'categorical'",
        )
    shape = tuple(model.output_shape) if isinstance(model.output_shape, tuple) else model.output_shape
    if shape != (None, settings.outputs):
        raise ConfigError(
            f"the model must give logits of shape {(None, settings.outputs)}, got {shape}",
            where=where,
            next_step=f"end it with keras.layers.Dense({settings.outputs}) without activation",
        )
    return model


def input_names(model: Any) -> list[str]:
    """Names of a functional model's inputs."""
    return [tensor.name for tensor in model.inputs]

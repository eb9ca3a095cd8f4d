"""Applies a transform graph without the tf_keras layer that TFT wraps around it.

`TFTransformOutput.transform_features_layer()` is a tf_keras Model; saved inside another SavedModel it adds
tf_keras's serialisation (0.25 s of 1 s, and 4 s the first time in a process). What it calls is
TFT's SavedModelLoader: this module does too, and is the only one that knows it. A test compares both.
"""

import functools
from typing import Any

from noria.components.internals.tft import SavedModelLoader
from noria.components.libraries import tf, tft


class TransformLayer:
    """A transform graph, loaded once, as a function of raw columns.

    Args:
      graph: TFT's output.
      label: raw feature that is not there when a model serves; TFT leaves out what depends on it.
    """

    def __init__(self, graph: tft.TFTransformOutput, label: str):
        self._graph, self._label = graph, label

    # Both when they are first used: a warm run whose export takes the champion's graph needs neither.
    @functools.cached_property
    def raw_spec(self) -> dict[str, Any]:
        """How raw columns are parsed."""
        return {name: spec for name, spec in self._graph.raw_feature_spec().items() if name != self._label}

    @functools.cached_property
    def _loader(self) -> SavedModelLoader:
        return SavedModelLoader(self._graph.transform_savedmodel_dir)

    @property
    def trackables(self) -> dict[str, Any]:
        """What a module that calls it must hold as an attribute, so that tables and assets are saved with it."""
        return dict(vars(self._loader))

    def __call__(self, examples: tf.Tensor) -> dict[str, Any]:
        """Transformed columns of serialized raw tf.Examples `[batch]`."""
        return self.transform(tf.io.parse_example(examples, self.raw_spec))

    def transform(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Transformed columns of raw ones, which are parsed by `raw_spec`."""
        return self._loader.apply_transform_model(columns)

"""Writes the SavedModel: serialized raw tf.Examples in, scores out, with the transform graph inside.

The module holds bare tf.Variables, the transform layer and one signature. A Keras model as an attribute would
make TensorFlow trace every layer again to save functions nobody calls.
"""

from pathlib import Path
from typing import Any

from noria.components.keras_first import ensure_keras3
from noria.components.trainer.network import Network

tf = ensure_keras3()

import tensorflow_transform as tft  # noqa: E402  (after keras_first, which says why)


class Serving(tf.Module):
    """`serving_default`: examples string `[batch]` -> {"score": float32 `[batch, outputs]`}.

    Args:
      network: the trained network, built outside any strategy's scope.
      graph: the run's transform graph.
    """

    def __init__(self, network: Network, graph: tft.TFTransformOutput):
        super().__init__(name="noria")
        self.weights = list(network.state().values())
        self.tft_layer = graph.transform_features_layer()
        label = network.features.label
        # The label is not there when a model serves; TFT leaves out what depends on it.
        self._spec = {name: spec for name, spec in graph.raw_feature_spec().items() if name != label}
        self._network = network
        self.serve = tf.function(
            self._serve, autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")]
        )

    def _serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = self.tft_layer(tf.io.parse_example(examples, self._spec))
        return {"score": self._network.scores(*self._network.features.pack(columns))}


def export(network: Network, graph: tft.TFTransformOutput, folder: Path) -> None:
    """Writes the SavedModel into `folder`."""
    module = Serving(network, graph)
    # Hidden from TensorFlow's tracking, which would walk into the Keras model.
    signature: Any = module.serve.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})

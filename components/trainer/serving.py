"""Writes the SavedModel: serialized raw tf.Examples in, scores out, with the transform graph inside.

The module holds bare variables, the transform graph's tables and one signature. A Keras model as an attribute
would make TensorFlow trace every layer again to save functions that nobody calls.
"""

from pathlib import Path

from noria.components.keras_first import ensure_keras3
from noria.components.trainer.network import Network
from noria.components.trainer.transform_layer import TransformLayer

tf = ensure_keras3()


class Serving(tf.Module):
    """What is saved: everything that the signature uses and that has a state."""

    def __init__(self, network: Network, transform: TransformLayer):
        super().__init__(name="noria")
        self.weights = list(network.state().values())
        self.transform = transform.trackables


def export(network: Network, transform: TransformLayer, folder: Path) -> None:
    """Writes the SavedModel.

    Its `serving_default` takes `examples` string `[batch]` and gives {"score": float32 `[batch, outputs]`}.

    Args:
      network: the trained network, built outside any strategy's scope.
      transform: the run's transform graph.
      folder: where to.
    """

    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": network.scores(*network.features.pack(transform(examples)))}

    signature = [tf.TensorSpec([None], tf.string, name="examples")]
    # Not an attribute of the module: TensorFlow would trace it once more.
    function = tf.function(serve, autograph=False, input_signature=signature).get_concrete_function()
    module = Serving(network, transform)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})

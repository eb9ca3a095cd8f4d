"""TensorFlow, Keras 3 and tensorflow_transform, imported in the order that `keras3` asks for."""

from typing import TYPE_CHECKING

from noria.components.keras3 import ensure_keras3

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow import keras
else:
    tf = ensure_keras3()
    keras = tf.keras

import tensorflow_transform as tft

__all__ = ["keras", "tf", "tft"]

"""The order of imports: TensorFlow, then tf.keras, then tensorflow_transform.

tensorflow_transform sets TF_USE_LEGACY_KERAS when it is imported. TensorFlow decides at the first use of tf.keras: if
the variable is set by then, the process gets tf_keras (Keras 2) instead of Keras 3, without a message. A model that
one has saved does not load in the other. So tf.keras is used first, which decides for the life of the process. Child
processes would inherit the variable; it is deleted.
"""

import functools
import os
import types

from noria.core.errors import LaneError

_LEGACY = "TF_USE_LEGACY_KERAS"


@functools.cache
def ensure_keras3() -> types.ModuleType:
    """Imports TensorFlow, resolves tf.keras, then imports tensorflow_transform. Idempotent, per process.

    Returns:
      The `tensorflow` module, whose `keras` is Keras 3.

    Raises:
      LaneError: something has imported tensorflow_transform first, or the environment asks for tf_keras.
    """
    tf = settle_keras3()
    import tensorflow_transform  # noqa: F401 - sets the variable while it is imported

    forget()
    return tf


def settle_keras3() -> types.ModuleType:
    """Imports TensorFlow and resolves tf.keras, for processes that may never need tensorflow_transform.

    A later import of tensorflow_transform sets the variable for child processes; `forget` deletes it.

    Raises:
      LaneError: as `ensure_keras3`.
    """
    forget()  # a parent process may have imported tensorflow_transform
    import tensorflow as tf

    # The first use of tf.keras decides. tf_keras has no version here.
    version = str(getattr(tf.keras, "__version__", "2"))
    if not version.startswith("3."):
        raise LaneError(
            f"Noria needs Keras 3, but tf.keras is Keras {version} in this process",
            where="an import of tensorflow_transform before the first use of tf.keras",
            next_step="call noria.components.keras3.ensure_keras3() before anything imports "
            f"tensorflow_transform or tensorflow_model_analysis, and start Python without {_LEGACY}",
        )
    return tf


def forget() -> None:
    """Deletes tensorflow_transform's variable from the environment, so that no child process inherits it."""
    os.environ.pop(_LEGACY, None)


def prefer_keras3() -> types.ModuleType:
    """As `ensure_keras3`, for code that also runs in Beam's workers and uses no Keras model.

    A worker unpickles tensorflow_transform's functions before ours, so tf.keras is tf_keras there.
    """
    try:
        return ensure_keras3()
    except LaneError:
        import tensorflow as tf

        return tf

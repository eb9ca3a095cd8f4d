"""The one place that fixes the order of imports: TensorFlow, then tf.keras, then tensorflow_transform.

tensorflow_transform sets TF_USE_LEGACY_KERAS while it is imported. tf.keras is resolved lazily, at its
first use: if that comes later, the process silently gets tf_keras (Keras 2) in place of Keras 3, and models
that one has saved do not load in the other. Touching tf.keras first settles it for the life of the process.
Child processes inherit the variable, and would get tf_keras before they can do anything: it is taken out.
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

    What imports tensorflow_transform afterwards leaves its variable to child processes; `forget` takes it out.

    Raises:
      LaneError: as `ensure_keras3`.
    """
    forget()  # a parent process that imported tensorflow_transform has left it here
    import tensorflow as tf

    # The first use of tf.keras is what decides. As tensorflow_transform leaves it, tf_keras has no version.
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
    """Takes tensorflow_transform's variable out of the environment, so that no child process inherits it."""
    os.environ.pop(_LEGACY, None)


def prefer_keras3() -> types.ModuleType:
    """As `ensure_keras3`, for code that runs in Beam's workers too and touches no Keras model.

    A worker unpickles tensorflow_transform's functions before ours, so that tf.keras is tf_keras there for good.
    """
    try:
        return ensure_keras3()
    except LaneError:
        import tensorflow as tf

        return tf

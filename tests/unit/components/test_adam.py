"""The Trainer's own Adam beside Keras's."""

import numpy as np
import pytest

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

from noria.components.trainer.adam import Adam  # noqa: E402
from noria.components.trainer.settings import Settings  # noqa: E402


@pytest.mark.parametrize("clipnorm", [0.5, None])
def test_adam_is_kerass(clipnorm):
    """Sixty steps give the weights (1e-6) of Keras's Adam, clipped per variable and with the same decaying rate."""
    settings = Settings(clipnorm=clipnorm, decay_steps=10.0, learning_rate_floor=0.4)
    generator = np.random.default_rng(3)
    start = {"kernel": generator.normal(size=(7, 5)), "bias": generator.normal(size=5)}
    ours = {name: tf.Variable(value, dtype=tf.float32) for name, value in start.items()}
    theirs = [tf.keras.Variable(value, dtype="float32") for value in start.values()]
    adam = Adam(ours, settings)

    class Rate(tf.keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return adam.learning_rate(tf.cast(step, tf.int64))

    keras = tf.keras.optimizers.Adam(Rate(), clipnorm=clipnorm)
    for step in range(60):  # gradients longer and shorter than the clip; the rate meets its floor at step 53
        gradients = [
            tf.constant(generator.normal(size=v.shape), tf.float32) * 10.0 ** (step % 4 - 2) for v in theirs
        ]
        adam.apply(tf.distribute.get_strategy(), gradients, tf.constant(step, tf.int64))
        keras.apply_gradients(zip(gradients, theirs, strict=True))
    for mine, expected, first in zip(ours.values(), theirs, start.values(), strict=True):
        assert 0.001 < np.abs(expected.numpy() - first).max()
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)

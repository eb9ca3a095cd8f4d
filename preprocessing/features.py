"""The building blocks of a `preprocessing_fn`: one raw column in, one dense feature `[batch]` out.

A raw column is sparse (`[batch, 1]` with gaps) where the schema lets values be missing, and dense where it does not;
each block takes both. All analyzers are TFT's own, few and simple, so that the same function runs in process and in
Beam, in both lanes, and a refreshed graph stays comparable with the champion's: vocabularies are named after their
feature, and numbers are only ever scaled by a straight line.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

import tensorflow as tf

# tensorflow_transform makes tf.keras mean tf_keras for whoever uses it first afterwards. This module may be the first
# to import it, and may not import `noria.components.keras3`, which is above it.
# In a Beam worker it comes last, and tf.keras is tf_keras, which has no version: without a Keras model no matter.
_KERAS = getattr(tf.keras, "__version__", None)

import tensorflow_transform as tft  # noqa: E402

__all__ = ["MISSING", "bucket", "category", "circle", "dense", "label", "log_number", "missing", "number"]

# What a missing category is called. A separate word, so that it gets its own entry in the vocabulary, and keeps
# that entry's embedding when the vocabulary is rebuilt.
MISSING = "(missing)"

# Deviation as a share of the mean up to which a column is constant. float32 leaves 6e-8 to 1e-6 of the mean there.
CONSTANT = 1e-5

Column: TypeAlias = tf.Tensor | tf.SparseTensor


def dense(column: Column, default: float | int | str) -> tf.Tensor:
    """One value for each row, `[batch]`: the default where there is none.

    Args:
      column: `[batch, 1]` sparse, or `[batch]` or `[batch, 1]` dense.
      default: of the column's type.
    """
    if isinstance(column, tf.SparseTensor):
        # The second dimension is 0 in a batch in which every row lacks the value.
        shape = tf.stack([column.dense_shape[0], tf.constant(1, tf.int64)])
        filled = tf.sparse.to_dense(
            tf.SparseTensor(column.indices, column.values, shape), default_value=default
        )
        return tf.reshape(filled, [-1])
    return tf.reshape(column, [-1])


def missing(column: Column) -> tf.Tensor:
    """1.0 in the rows without a value, or with one that `number` takes for missing; else 0.0. `[batch]` float32."""
    if isinstance(column, tf.SparseTensor):
        here = tf.SparseTensor(column.indices, _here(column.values), column.dense_shape)
        return 1.0 - dense(here, 0.0)
    return 1.0 - _here(tf.reshape(column, [-1]))


def _here(values: tf.Tensor) -> tf.Tensor:
    """1.0 for values whose square float32 can hold, 0.0 for others; 1.0 for all that are no floats."""
    if not values.dtype.is_floating:
        return tf.ones_like(values, tf.float32)
    return tf.cast(tf.math.is_finite(tf.square(tf.cast(values, tf.float32))), tf.float32)


def number(column: Column) -> tf.Tensor:
    """Z-score, `[batch]` float32, by mean and deviation of the values that are there; a missing one becomes 0.

    A column is constant, and 0 everywhere, where its deviation is at most 1e-5 of its mean: float32 cannot tell such
    values apart, and a division by that deviation would give noise. A value counts as missing if float32 cannot hold
    its square (infinite, or beyond 1.8e19): it would leave no scale for the others. The z-score is not clipped here,
    so that two transform graphs differ by a straight line; the Trainer's network clips it.
    """
    values = tf.cast(column.values if isinstance(column, tf.SparseTensor) else column, tf.float32)
    known = _here(values) > 0
    # TFT's analyzers ignore NaN.
    analyzed = tf.where(known, values, tf.constant(math.nan, tf.float32))
    mean, deviation = tft.mean(analyzed), tf.sqrt(tft.var(analyzed))
    constant = tf.logical_not(deviation > CONSTANT * tf.abs(mean))  # also where there is no value at all
    scores = (values - mean) / tf.where(constant, tf.ones_like(deviation), deviation)
    scores = tf.where(tf.logical_and(known, tf.logical_not(constant)), scores, tf.zeros_like(scores))
    if isinstance(column, tf.SparseTensor):
        return dense(tf.SparseTensor(column.indices, scores, column.dense_shape), 0.0)
    return dense(scores, 0.0)


def log_number(column: Column) -> tf.Tensor:
    """Z-score of ln(1 + x), for amounts with a long tail; negative values count as 0. `[batch]` float32."""
    if isinstance(column, tf.SparseTensor):
        values = tf.math.log1p(tf.maximum(tf.cast(column.values, tf.float32), 0.0))
        return number(tf.SparseTensor(column.indices, values, column.dense_shape))
    return number(tf.math.log1p(tf.maximum(tf.cast(column, tf.float32), 0.0)))


def category(
    column: Column, name: str, top_k: int | None = None, frequency_threshold: int | None = None
) -> tf.Tensor:
    """Vocabulary id, `[batch]` int64; text or whole numbers. The last id means everything unknown.

    Args:
      column: strings or integers.
      name: name of the output feature, which names the vocabulary's file, too: that is how Transform and Trainer
        find the entries again.
      top_k: the most frequent values that get an entry; None for all.
      frequency_threshold: rows in which a value must occur to get an entry; None for one.
    """
    words = column
    if column.dtype != tf.string:
        if isinstance(column, tf.SparseTensor):
            words = tf.SparseTensor(column.indices, tf.strings.as_string(column.values), column.dense_shape)
        else:
            words = tf.strings.as_string(column)
    return tft.compute_and_apply_vocabulary(
        dense(words, MISSING),
        top_k=top_k,
        frequency_threshold=frequency_threshold,
        num_oov_buckets=1,
        vocab_filename=name,
    )


def bucket(column: Column, buckets: int) -> tf.Tensor:
    """Number of the quantile bucket, `[batch]` int64, 0 to buckets-1; a missing value falls into the first one.

    The boundaries are quantiles of the values that are there. Put `missing` beside it where the gaps matter.
    """
    values = column.values if isinstance(column, tf.SparseTensor) else tf.reshape(column, [-1])
    boundaries = tft.quantiles(tf.cast(values, tf.float32), num_buckets=buckets, epsilon=0.01)
    filled = tf.cast(dense(column, column.dtype.min), tf.float32)
    return tft.apply_buckets(filled, boundaries)


def circle(column: Column, name: str, period: float) -> dict[str, tf.Tensor]:
    """A cyclic quantity as a point on the unit circle, so that 23:59 lies beside 00:00.

    Args:
      column: a number.
      name: the outputs are `<name>_sin` and `<name>_cos`.
      period: what makes a full run, in the column's unit.

    Returns:
      Two features `[batch]` float32; a missing value is the circle's centre, (0, 0).
    """
    # The remainder is taken in float64: float32 has no seconds left in an epoch time.
    run = tf.math.floormod(tf.cast(dense(column, 0), tf.float64), period)
    angle = tf.cast(run * (2 * math.pi / period), tf.float32)
    here = 1.0 - missing(column)
    return {f"{name}_sin": tf.sin(angle) * here, f"{name}_cos": tf.cos(angle) * here}


def label(inputs: Mapping[str, Column], name: str) -> dict[str, tf.Tensor]:
    """The label under its own name, `[batch]`, int64 or float32; nothing where the inputs lack it (serving)."""
    if name not in inputs:
        return {}
    column = inputs[name]
    return {name: dense(column, 0.0 if column.dtype.is_floating else 0)}

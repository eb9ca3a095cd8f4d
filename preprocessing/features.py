"""The building blocks of a `preprocessing_fn`: one raw column in, one dense feature `[batch]` out; `numbers` and
`gaps` take many columns at once.

A raw column is sparse (`[batch, 1]` with gaps) where the schema lets values be missing, and dense where it does not;
each block takes both. All analyzers are TFT's own, few and simple, so that the same function runs in process and in
Beam, in both lanes, and a refreshed graph stays comparable with the champion's: vocabularies are named after their
feature, and numbers are only ever scaled by a straight line.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf

# tensorflow_transform makes tf.keras mean tf_keras for the module that uses it first afterwards. This module may be
# the first to import it, and may not import `noria.components.keras3`, which is above it.
# In a Beam worker it comes last, and tf.keras is tf_keras, which has no version. No Keras model is made there.
_KERAS = getattr(tf.keras, "__version__", None)

import tensorflow_transform as tft  # noqa: E402

__all__ = [
    "MISSING",
    "bucket",
    "category",
    "circle",
    "dense",
    "gaps",
    "label",
    "log_number",
    "missing",
    "number",
    "numbers",
    "since",
]

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


def number(column: Column) -> tf.Tensor:
    """Z-score, `[batch]` float32, by mean and deviation of the values that are there; a missing one becomes 0.

    A column is constant, and 0 everywhere, where its deviation is at most 1e-5 of its mean: float32 cannot tell such
    values apart, and a division by that deviation would give noise. A value counts as missing if float32 cannot hold
    its square (infinite, or beyond 1.8e19): it would leave no scale for the others. The z-score is not clipped here,
    so that two transform graphs differ by a straight line; the Trainer's network clips it.
    """
    return numbers({"": column})[""]


def numbers(columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
    """`number` of each column, by output name, with the same few graph operations for all of them.

    TFT and TensorFlow need milliseconds for each operation of a graph, every time they trace, write or load it, so
    many columns should share them.
    """
    if not columns:
        return {}
    names, values = _side_by_side(columns)
    # TFT's analyzers ignore NaN. In float64, because a sum down the rows has no tree of partial sums in TensorFlow.
    analyzed = tf.cast(values, tf.float64)
    mean = tf.cast(tft.mean(analyzed, reduce_instance_dims=False), tf.float32)
    deviation = tf.cast(tf.sqrt(tft.var(analyzed, reduce_instance_dims=False)), tf.float32)
    constant = tf.logical_not(deviation > CONSTANT * tf.abs(mean))  # also where there is no value at all
    scores = (values - mean) / tf.where(constant, tf.ones_like(deviation), deviation)
    known = tf.logical_not(tf.math.is_nan(values))
    scores = tf.where(tf.logical_and(known, tf.logical_not(constant)), scores, tf.zeros_like(scores))
    return dict(zip(names, tf.unstack(scores, axis=1), strict=True))


def missing(column: Column) -> tf.Tensor:
    """1.0 in the rows without a value, or with one that `number` takes for missing; else 0.0. `[batch]` float32."""
    return gaps({"": column})[""]


def gaps(columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
    """`missing` of each column, by output name, with the same few graph operations for all of them."""
    if not columns:
        return {}
    names, values = _side_by_side(columns)
    return dict(zip(names, tf.unstack(tf.cast(tf.math.is_nan(values), tf.float32), axis=1), strict=True))


def _side_by_side(columns: Mapping[str, Column]) -> tuple[list[str], tf.Tensor]:
    """Names, and their columns as one matrix `[batch, columns]` float32.

    It is NaN where there is no value, or one whose square float32 cannot hold.
    """
    kinds: dict[tuple, dict[str, Column]] = {}
    for name, column in columns.items():
        if column.dtype == tf.string:
            raise TypeError(
                f"{name!r} holds text, which is no number: make it a category; in a module that noria init wrote, "
                "move it from NUMBERS to CATEGORIES"
            )
        sparse = isinstance(column, tf.SparseTensor)
        kinds.setdefault((sparse, column.dtype, sparse or column.shape.rank), {})[name] = column
    parts = []
    for (sparse, _, rank), group in kinds.items():
        alike = list(group.values())
        if sparse:
            parts.append(_filled(alike))
        else:
            matrix = tf.stack(alike, 1) if rank == 1 else tf.concat(alike, 1)
            parts.append(tf.ensure_shape(tf.cast(matrix, tf.float32), [None, len(alike)]))
    values = parts[0] if len(parts) == 1 else tf.concat(parts, 1)
    known = tf.math.is_finite(tf.square(values))
    names = [name for group in kinds.values() for name in group]
    return names, tf.where(known, values, tf.constant(math.nan, tf.float32))


def _filled(columns: Sequence[tf.SparseTensor]) -> tf.Tensor:
    """Sparse columns `[batch, 1]` of one type as float32 `[batch, columns]`, NaN in the gaps."""
    shapes = tf.stack([column.dense_shape for column in columns])
    # The second dimension is 0 in a batch in which every row lacks the value. Above 1, `ensure_shape` refuses it.
    shape = tf.maximum(tf.reduce_max(shapes, 0), tf.constant([0, 1], tf.int64))
    joined = tf.sparse.concat(
        1, [tf.SparseTensor(column.indices, column.values, shape) for column in columns]
    )
    known = tf.SparseTensor(joined.indices, tf.cast(joined.values, tf.float32), joined.dense_shape)
    return tf.ensure_shape(tf.sparse.to_dense(known, default_value=math.nan), [None, len(columns)])


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
    """A cyclic quantity as a point on the unit circle, so that 23:59 is next to 00:00.

    Args:
      column: a number.
      name: the outputs are `<name>_sin` and `<name>_cos`.
      period: the length of one cycle, in the column's unit.

    Returns:
      Two features `[batch]` float32; a missing value is the circle's centre, (0, 0).
    """
    # The remainder is taken in float64: float32 has no seconds left in an epoch time.
    phase = tf.math.floormod(tf.cast(dense(column, 0), tf.float64), period)
    angle = tf.cast(phase * (2 * math.pi / period), tf.float32)
    here = 1.0 - missing(column)
    return {f"{name}_sin": tf.sin(angle) * here, f"{name}_cos": tf.cos(angle) * here}


def since(column: Column, until: Column) -> tf.Tensor:
    """Seconds from one time to another, `[batch]` float32, NaN where either is missing: a column for `numbers`.

    An age, or how long a contract has run. Each of the times grows, so that new rows lie beyond all that was learnt;
    their distance does not.

    Args:
      column: the time that is in the past, epoch seconds; where it is in the future the distance is negative.
      until: the event's time, epoch seconds.
    """
    seconds = tf.cast(dense(until, 0), tf.int64) - dense(
        column, 0
    )  # float32 has no seconds left in an epoch time
    unknown = tf.maximum(missing(column), missing(until))
    return tf.where(unknown > 0, tf.constant(math.nan, tf.float32), tf.cast(seconds, tf.float32))


def label(inputs: Mapping[str, Column], name: str) -> dict[str, tf.Tensor]:
    """The label under its own name, `[batch]`, int64 or float32; nothing where the inputs lack it (serving)."""
    if name not in inputs:
        return {}
    column = inputs[name]
    return {name: dense(column, 0.0 if column.dtype.is_floating else 0)}

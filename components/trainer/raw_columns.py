"""Raw columns of a SavedModel's `predict` signature: one tensor for each column, by its name.

A tensor has a value in each row, so a missing one is sent as NaN, as the smallest int64, or as the empty string. What
the transform graph takes for an optional column is a SparseTensor. The tensors of one type become sparse together: the
graph has two nodes more for a column more, and not ten.
"""

import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from noria.components.libraries import tf
from noria.components.missing_values import MISSING


class RawColumns:
    """The columns of a feature spec.

    Args:
      spec: FixedLenFeatures and VarLenFeatures by name; an optional column has at most one value in a row.
    """

    def __init__(self, spec: Mapping[str, Any]):
        self.spec = dict(sorted(spec.items()))

    @property
    def supported(self) -> bool:
        """Whether each column can be sent as one tensor."""
        kinds = tf.io.FixedLenFeature, tf.io.VarLenFeature
        return bool(self.spec) and all(isinstance(each, kinds) for each in self.spec.values())

    @property
    def arguments(self) -> dict[str, str]:
        """The name of each column as an argument in Python, which allows no spaces."""
        taken = {name for name in self.spec if _is_argument(name)}
        found = {}
        for index, name in enumerate(self.spec):
            alias = name if name in taken else f"column_{index}"
            while alias != name and alias in taken:
                alias += "_"
            taken.add(alias)
            found[name] = alias
        return found

    def parsed_specs(self) -> dict[str, Any]:
        """What `tf.io.parse_example` gives."""
        return {
            name: tf.SparseTensorSpec([None, None], each.dtype)
            if isinstance(each, tf.io.VarLenFeature)
            else tf.TensorSpec([None, *each.shape], each.dtype)
            for name, each in self.spec.items()
        }

    def input_specs(self) -> dict[str, Any]:
        """The inputs of the signature by argument: `[batch]`, and `[batch, n]` for a column with n values in a row."""
        specs = {}
        for name, alias in self.arguments.items():
            shape = list(getattr(self.spec[name], "shape", []))
            specs[alias] = tf.TensorSpec(
                [None, *(shape if shape != [1] else [])], self.spec[name].dtype, alias
            )
        return specs

    def parse(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Columns as `tf.io.parse_example` gives them, from inputs by argument, `[batch]` or `[batch, 1]`."""
        arguments = self.arguments
        optional: dict[Any, list[str]] = {}  # by type
        found = {}
        for name, each in self.spec.items():
            if isinstance(each, tf.io.VarLenFeature):
                optional.setdefault(each.dtype, []).append(name)
            else:
                found[name] = tf.reshape(inputs[arguments[name]], [-1, *each.shape])
        for names in optional.values():
            sparse = _sparse([inputs[arguments[name]] for name in names])
            found.update(zip(names, sparse, strict=True))
        return found


def _is_argument(name: str) -> bool:
    """Whether TensorFlow takes it as it is; it puts `arg_` before names that do not begin with a letter."""
    return (
        name[:1].isalpha()
        and name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and name != "self"
    )


def _sparse(columns: Sequence[Any]) -> list[Any]:
    """SparseTensors `[batch, 1]` of tensors of one type and length, without the values that mean "missing"."""
    stacked = tf.stack([tf.reshape(each, [-1]) for each in columns])  # [columns, batch]
    if stacked.dtype == tf.float32:
        present = tf.logical_not(tf.math.is_nan(stacked))
    else:
        present = tf.not_equal(stacked, tf.constant(MISSING[stacked.dtype.name], stacked.dtype))
    positions = tf.where(present)  # [values, 2]: column and row, column by column
    values = tf.gather_nd(stacked, positions)
    rows = tf.stack([positions[:, 1], tf.zeros_like(positions[:, 1])], axis=1)
    counts = tf.reduce_sum(tf.cast(present, tf.int64), axis=1)
    shape = tf.stack([tf.shape(stacked, tf.int64)[1], 1])
    parts = zip(
        tf.split(rows, counts, num=len(columns)), tf.split(values, counts, num=len(columns)), strict=True
    )
    return [tf.SparseTensor(indices, held, shape) for indices, held in parts]

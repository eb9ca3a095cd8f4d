"""Which features a model reads, from the transformed schema: categorical ids and numbers, nothing else."""

import dataclasses
import itertools
import json
import re
from typing import Any

import numpy as np

from noria.components.libraries import tf, tft
from noria.core.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A feature of ids; the model sees `id - lowest`, clipped to 0 .. rows-1.

    Attributes:
      name: as in the transformed schema.
      rows: number of distinct ids, out-of-vocabulary buckets included.
      lowest: the lowest id: 0, or -1 where unknown values have the id -1.
      width: of its embedding. It follows from the rows on a cold run; a warm run keeps the champion's, or a
        vocabulary that grows would change the shape of the layers behind it.
    """

    name: str
    rows: int
    lowest: int = 0
    width: int = 1

    @property
    def key(self) -> str:
        """The name in a form that is valid in the name of a variable."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of a model, in the order of its columns: sorted by name.

    Attributes:
      categorical: features of ids.
      numeric: name and width of each numeric feature; width 1 for a scalar.
      label: name of the label.
    """

    categorical: tuple[Categorical, ...]
    numeric: tuple[tuple[str, int], ...]
    label: str

    @property
    def width(self) -> int:
        """Columns of the numeric matrix."""
        return sum(width for _, width in self.numeric)

    @property
    def names(self) -> list[str]:
        return [feature.name for feature in self.categorical] + [name for name, _ in self.numeric]

    def numeric_columns(self) -> dict[str, slice]:
        """The columns of each numeric feature in the numeric matrix."""
        found, start = {}, 0
        for name, width in self.numeric:
            found[name] = slice(start, start + width)
            start += width
        return found

    def pack(self, columns: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """Packs transformed columns, tensors or arrays, into two matrices.

        Returns:
          numeric float32 `[rows, width]` and ids int32 `[rows, number of categorical features]`, from 0.
        """
        first = columns[self.names[0]]
        rows = tf.shape(first)[0]
        numeric = _side_by_side([(columns[name], width) for name, width in self.numeric], rows, tf.float32)
        if not self.categorical:
            return numeric, tf.zeros([rows, 0], tf.int32)
        ids = _side_by_side([(columns[feature.name], 1) for feature in self.categorical], rows, tf.int32)
        lowest = tf.constant([f.lowest for f in self.categorical], tf.int32)
        highest = tf.constant([f.rows - 1 for f in self.categorical], tf.int32)
        return numeric, tf.clip_by_value(ids - lowest, 0, highest)

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def keep_widths(self, champion: "Features") -> "Features":
        """These features with the champion's embedding widths."""
        widths = {feature.name: feature.width for feature in champion.categorical}
        kept = [dataclasses.replace(f, width=widths.get(f.name, f.width)) for f in self.categorical]
        return dataclasses.replace(self, categorical=tuple(kept))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Features":
        return cls(
            categorical=tuple(Categorical(**feature) for feature in value["categorical"]),
            numeric=tuple((name, width) for name, width in value["numeric"]),
            label=value["label"],
        )


def _side_by_side(columns: list[tuple[Any, int]], rows: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Columns and their widths as one matrix `[rows, widths]`; scalars, the most, by one operation for all."""
    if columns and all(isinstance(column, np.ndarray) for column, _ in columns):
        # TensorFlow would make a tensor of each.
        kind = dtype.as_numpy_dtype
        return tf.constant(
            np.concatenate([column.reshape(-1, width).astype(kind) for column, width in columns], 1)
        )
    parts = [
        tf.stack(list(group), 1) if scalars else tf.concat(list(group), 1)
        for scalars, group in itertools.groupby(
            (
                tf.cast(column, dtype)
                if column.shape.rank == 1
                else tf.reshape(tf.cast(column, dtype), [rows, width])
                for column, width in columns
            ),
            key=lambda column: column.shape.rank == 1,
        )
    ]
    return tf.concat(parts, 1) if parts else tf.zeros([rows, 0], dtype)


def embedding_width(rows: int, cap: int) -> int:
    """Width of an embedding of this many rows: 1.6 rows^0.56, at most `cap` (fast.ai's rule of thumb).

    >>> [embedding_width(rows, 50) for rows in (3, 17, 106, 4000)]
    [3, 8, 22, 50]
    """
    return min(cap, round(1.6 * rows**0.56))


def read_features(graph: tft.TFTransformOutput, label: str, embedding_cap: int = 50) -> Features:
    """The features of a transform graph: int64 with a categorical domain are ids, other numbers are numeric.

    Raises:
      ConfigError: the label is not among the transformed features, or there is no feature.
      DataError: a feature that is neither (a string, or of no fixed size).
    """
    spec = graph.transformed_feature_spec()
    if label not in spec:
        raise ConfigError(
            f"the label {label!r} is not among the transformed features {sorted(spec)}",
            where="preprocessing_fn",
            next_step=f"let preprocessing_fn pass it through: outputs[{label!r}] = inputs[{label!r}]",
        )
    domains = graph.transformed_domains()
    categorical, numeric = [], []
    for name in sorted(spec):
        if name == label:
            continue
        feature = spec[name]
        if not isinstance(feature, tf.io.FixedLenFeature) or feature.dtype == tf.string:
            raise DataError(
                f"the model cannot read {name!r}: {feature}; expected a number, or a fixed size of them",
                where="preprocessing_fn",
                next_step="make it dense there (fill missing values) and turn strings into ids with "
                "tft.compute_and_apply_vocabulary",
            )
        width = int(tf.TensorShape(feature.shape).num_elements())
        domain = domains.get(name)
        if feature.dtype == tf.int64 and domain is not None and domain.is_categorical and width == 1:
            lowest = int(domain.min)
            rows = int(domain.max) - lowest + 1
            categorical.append(Categorical(name, rows, lowest, embedding_width(rows, embedding_cap)))
        else:
            numeric.append((name, width))
    if not categorical and not numeric:
        raise ConfigError("preprocessing_fn gives no feature but the label", where="preprocessing_fn")
    return Features(tuple(categorical), tuple(numeric), label)

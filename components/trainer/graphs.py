"""Compares the champion's transform graph with the run's: what happened to each feature.

Vocabularies are compared entry by entry; all else by applying both graphs to the same raw rows, so no meaning
is guessed from the graphs' insides.
"""

import dataclasses
import filecmp
import os
from pathlib import Path
from typing import Any

import numpy as np

from noria.components.libraries import tf, tft
from noria.components.trainer import remap
from noria.components.trainer.model_inputs import Features
from noria.components.trainer.transform_layer import TransformLayer
from noria.core.errors import WarmStartError

SAMPLE = 4096  # raw rows that both graphs are applied to


@dataclasses.dataclass
class Change:
    """What the refreshed graph changed.

    Attributes:
      transform: `reused` or `refreshed`.
      rows: row map by categorical feature; those that kept their ids are absent.
      lines: one line per column of a numeric feature; those that kept their values are absent.
      features: entries for warm_start.json.
    """

    transform: str
    rows: dict[str, remap.RowMap] = dataclasses.field(default_factory=dict)
    lines: dict[str, list[remap.Line]] = dataclasses.field(default_factory=dict)
    features: list[dict[str, str]] = dataclasses.field(default_factory=list)


def same(old: Path, new: Path) -> bool:
    """Whether two graphs are the same, file by file."""
    names = [
        sorted(
            os.path.relpath(os.path.join(folder, file), root / "transform_fn")
            for folder, _, files in os.walk(root / "transform_fn")
            for file in files
        )
        for root in (old, new)
    ]
    if names[0] != names[1]:
        return False
    return all(
        filecmp.cmp(old / "transform_fn" / name, new / "transform_fn" / name, shallow=False)
        for name in names[0]
    )


def compare(
    old: tft.TFTransformOutput,
    new: tft.TFTransformOutput,
    old_features: Features,
    new_features: Features,
    raw: tf.Tensor,
    layer: TransformLayer | None = None,
) -> Change:
    """Compares two graphs of the same features.

    Args:
      old: the champion's graph.
      new: the run's graph.
      old_features: what the champion reads.
      new_features: what the new model reads; the same names.
      raw: serialized raw tf.Examples `[n]` to apply both to.
      layer: the run's graph, where it is loaded already.

    Raises:
      WarmStartError: there are no raw rows to compare with.
    """
    if int(tf.shape(raw)[0]) == 0:
        raise WarmStartError(
            "there are no raw rows to compare the transform graphs with", where="raw_examples"
        )
    layers = TransformLayer(old, old_features.label), layer or TransformLayer(new, new_features.label)
    rows = [_parsed(raw, layer, layers) for layer in layers]
    before, after = _apply(layers[0], rows[0], old_features), _apply(layers[1], rows[1], new_features)
    change = Change("refreshed")
    pairs = zip(old_features.categorical, new_features.categorical, strict=True)
    for column, (was, now) in enumerate(pairs):
        words, others = _vocabulary(old, was.name), _vocabulary(new, now.name)
        if words is not None and others is not None:
            mapped = remap.map_vocabulary(words, others, was.rows, now.rows, was.lowest, now.lowest)
            how = "vocabulary"
        else:
            mapped = remap.map_ids(before[1][:, column], after[1][:, column], was.rows, now.rows)
            how = "new" if mapped.agree < 1 else "vocabulary"
        if mapped.identical and was.rows == now.rows:
            change.features.append({"name": now.name, "how": "identical", "detail": mapped.detail})
            continue
        change.rows[now.name] = mapped
        change.features.append({"name": now.name, "how": how, "detail": mapped.detail})
    missing = _missing(*layers, old_features, new_features)
    for name, columns in new_features.numeric_columns().items():
        lines = [
            remap.fit_line(before[0][:, column], after[0][:, column], missing[column])
            for column in range(columns.start, columns.stop)
        ]
        how = "identical" if all(line.identical for line in lines) else "affine"
        worst = max(lines, key=lambda line: line.residual)
        if how == "affine":
            change.lines[name] = lines
        detail = str(worst)
        if not worst.exact:
            how = "new"
            detail = f"no linear function maps the new values to the old ones: closest {detail}"
        change.features.append({"name": name, "how": how, "detail": detail})
    return change


def _parsed(
    raw: tf.Tensor, layer: TransformLayer, layers: tuple[TransformLayer, TransformLayer]
) -> dict[str, Any]:
    """Raw columns of serialized rows for one of the two graphs.

    The rows have the new graph's types. A number whose type has changed is rounded for both graphs: they get the same
    values, and the line between them shows. What cannot be a value of the older type is missing there.
    """
    types = {name: spec.dtype for name, spec in layers[1].raw_spec.items()}
    old = {name: spec.dtype for name, spec in layers[0].raw_spec.items()}
    spec = {name: own._replace(dtype=types.get(name, own.dtype)) for name, own in layer.raw_spec.items()}
    columns = tf.io.parse_example(raw, spec)
    for name, column in columns.items():
        if name in types and types[name] != old.get(name, types[name]):
            columns[name] = _rounded(column, layer.raw_spec[name].dtype)
    return columns


def _rounded(column: Any, kind: tf.DType) -> Any:
    """A raw column, sparse or dense, as whole numbers of a type; without values where one of the types is text."""
    if tf.string in (column.dtype, kind):
        if isinstance(column, tf.SparseTensor):
            indices = tf.zeros([0, 2], tf.int64)
            return tf.SparseTensor(indices, tf.zeros([0], kind), column.dense_shape)
        return tf.zeros(tf.shape(column), kind)
    if isinstance(column, tf.SparseTensor):
        return tf.SparseTensor(column.indices, _rounded(column.values, kind), column.dense_shape)
    return tf.cast(tf.round(column), kind)


def _apply(
    layer: TransformLayer, columns: dict[str, Any], features: Features
) -> tuple[np.ndarray, np.ndarray]:
    """Numeric `[n, F]` and ids `[n, C]` of raw columns by one graph."""
    numeric, ids = features.pack(layer.transform(columns))
    return numeric.numpy(), ids.numpy()


def _missing(
    old: TransformLayer, new: TransformLayer, old_features: Features, new_features: Features
) -> list[tuple[float, float] | None]:
    """What each numeric column is, by both graphs, in a row where everything is missing."""
    try:
        pair = [
            _apply(layer, tf.io.parse_example(tf.constant([b""]), layer.raw_spec), features)[0][0]
            for layer, features in ((old, old_features), (new, new_features))
        ]
    except tf.errors.InvalidArgumentError:  # the schema has features that are never missing
        return [None] * new_features.width
    return [
        (float(was), float(now)) if np.isfinite(was) and np.isfinite(now) else None
        for was, now in zip(*pair, strict=True)
    ]


def _vocabulary(graph: tft.TFTransformOutput, name: str) -> list[bytes] | None:
    """The entries of the vocabulary named as the feature, or None for a feature without one."""
    file = graph.vocabulary_file_by_name(name)
    if file is None or not tf.io.gfile.exists(file):
        return None
    return graph.vocabulary_by_name(name)

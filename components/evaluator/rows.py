"""Eval rows as arrays: labels, predictions of each model, and the columns that slice. No TFMA here."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from noria.components.evaluator import saved_models
from noria.components.evaluator.older_model import in_older_types
from noria.core.errors import DataError, GateError

# Rows a model predicts at once: past 8,192 the time per row no longer falls, and the memory of a wide model
# grows.
BATCH = 8192

_DTYPES = {
    schema_pb2.FeatureType.BYTES: tf.string,
    schema_pb2.FeatureType.INT: tf.int64,
    schema_pb2.FeatureType.FLOAT: tf.float32,
}


@dataclasses.dataclass
class Column:
    """A column to slice by.

    Attributes:
      codes: `[n]` int32 index into `values`; -1 where the row has no value.
      values: the distinct values; int, float or str.
    """

    codes: np.ndarray
    values: list[Any]


@dataclasses.dataclass
class EvalRows:
    """What the metrics need of `n` rows: 24 bytes a row for two models of one score and two columns.

    All rows of the eval split are held, and labels, predictions and slices are computed on as whole arrays: about 150
    bytes a row at the peak of `in_process.evaluate` (two models, 20 slices).

    Attributes:
      labels: `[n]` int64 or float32.
      predictions: `[n, k]` float32 by model name.
      columns: by name.
    """

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.labels)


def read(
    files: Sequence[str],
    models: Mapping[str, Path],
    label: str,
    slice_columns: Sequence[str],
    schema: schema_pb2.Schema,
    older: Mapping[str, Mapping[str, int]] | None = None,
) -> EvalRows:
    """Reads gzip TFRecords batch by batch and has each model predict each batch once.

    Args:
      files: TFRecord files of serialized tf.Examples.
      models: SavedModel folders by name.
      label: name of the label's feature.
      slice_columns: names of the features to slice by.
      schema: of the raw examples; gives the types.
      older: model -> the features that it reads in another type (see `older_model`).

    Raises:
      DataError: a row without a label, or a column with more than one value in a row.
      GateError: a model that does not answer with a `score` for each row.
    """
    types = {feature.name: _DTYPES[feature.type] for feature in schema.feature if feature.type in _DTYPES}
    spec = {name: tf.io.VarLenFeature(types[name]) for name in dict.fromkeys([label, *slice_columns])}
    labels: list[np.ndarray] = []
    scores: dict[str, list[np.ndarray]] = {name: [] for name in models}
    coders = {name: _Coder(name) for name in slice_columns}
    dataset = tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(BATCH).prefetch(1)
    seen = 0
    with saved_models.opened(models) as signatures:
        for serialized in dataset:
            count = int(serialized.shape[0])
            parsed = tf.io.parse_example(serialized, spec)
            labels.append(_labels(parsed[label], count, label, seen))
            for name, coder in coders.items():
                coder.add(parsed[name], count)
            for name, ask in signatures.items():
                examples = serialized
                if older is not None and older.get(name):
                    examples = tf.constant(in_older_types(serialized.numpy(), older[name]))
                scores[name].append(_score(ask, examples, models[name], count))
            seen += count
    empty = np.zeros(0, types[label].as_numpy_dtype)
    return EvalRows(
        labels=np.concatenate(labels) if labels else empty,
        predictions=_of_one_width(
            {
                name: np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
                for name, parts in scores.items()
            }
        ),
        columns={name: coder.column() for name, coder in coders.items()},
    )


def _of_one_width(predictions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model of classes from before one was added gives it a score of 0."""
    width = max(scores.shape[1] for scores in predictions.values())
    return {
        name: np.pad(scores, ((0, 0), (0, width - scores.shape[1])))
        if 1 < scores.shape[1] < width
        else scores
        for name, scores in predictions.items()
    }


def _labels(sparse: tf.SparseTensor, count: int, label: str, seen: int) -> np.ndarray:
    rows = sparse.indices.numpy()[:, 0]
    if len(rows) != count or (np.diff(rows) != 1).any():
        counts = np.bincount(rows, minlength=count)
        at = int(np.flatnonzero(counts != 1)[0])
        raise DataError(
            f"each row to judge by needs one label, got {counts[at]}",
            where=f"column {label}, row {seen + at} of the eval split",
            next_step="a row without a label must be in neither split; check how the examples were made",
        )
    return sparse.values.numpy()


def _score(ask: Any, serialized: tf.Tensor, folder: Path, count: int) -> np.ndarray:
    try:
        outputs = ask(examples=serialized)
    except tf.errors.OpError as error:
        raise GateError(
            f"the model does not predict: {error.message.splitlines()[0]}", where=folder
        ) from None
    if "score" not in outputs:
        raise GateError(f"serving_default must give `score`, it gives {sorted(outputs)}", where=folder)
    score = outputs["score"].numpy()
    if score.ndim == 1:
        score = score[:, np.newaxis]
    if score.ndim != 2 or len(score) != count:
        raise GateError(f"score must have the shape [{count}, k], got {list(score.shape)}", where=folder)
    return score


class _Coder:
    """Turns a column's values into codes, batch by batch, so that rows of text are not kept."""

    def __init__(self, name: str):
        self._name = name
        self._index: dict[Any, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, sparse: tf.SparseTensor, count: int) -> None:
        rows = sparse.indices.numpy()[:, 0]
        if len(rows) > 1 and (np.diff(rows) == 0).any():
            raise DataError("a column to slice by needs at most one value in a row", where=self._name)
        values, inverse = np.unique(sparse.values.numpy(), return_inverse=True)
        known = [self._index.setdefault(value, len(self._index)) for value in values.tolist()]
        codes = np.full(count, -1, np.int32)
        codes[rows] = np.asarray(known, np.int32)[inverse] if known else -1
        self._parts.append(codes)

    def column(self) -> Column:
        values = [self._text(value) if isinstance(value, bytes) else value for value in self._index]
        return Column(np.concatenate(self._parts) if self._parts else np.zeros(0, np.int32), values)

    def _text(self, value: bytes) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{value!r} is not UTF-8, so it cannot name a slice", where=self._name) from None


def problems(rows: EvalRows, task: str, names: Mapping[str, str]) -> list[str]:
    """Says what keeps rows or predictions from being judged, in words; empty if nothing does.

    Args:
      rows: what was read.
      task: `binary`, `multiclass` or `regression`.
      names: what to call each model.
    """
    if not len(rows):
        return ["the eval split has no rows to judge by"]
    found = []
    if task == "binary" and not np.isin(rows.labels, (0, 1)).all():
        odd = rows.labels[~np.isin(rows.labels, (0, 1))][0]
        found.append(f"a binary label must be 0 or 1, got {odd}")
    for name, scores in rows.predictions.items():
        broken = int((~np.isfinite(scores)).any(axis=1).sum())
        if broken:
            found.append(
                f"the {names[name]}'s predictions are not finite on {broken:,} of {len(rows):,} rows"
            )
        elif task == "multiclass" and not 0 <= rows.labels.min() <= rows.labels.max() < scores.shape[1]:
            span = f"{rows.labels.min()} to {rows.labels.max()}"
            found.append(f"the labels go from {span}, but the {names[name]} knows {scores.shape[1]} classes")
        elif task != "multiclass" and scores.shape[1] != 1:
            found.append(f"the {names[name]} gives {scores.shape[1]} scores a row, the task {task} needs one")
    return found

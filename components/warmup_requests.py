"""TF Serving's warm-up file: real requests that it replays when it loads a version, before users' requests."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from noria.components.internals.tensorflow import signature_of
from noria.components.missing_values import MISSING
from noria.stores.model_directory import MAX_WARMUP_RECORDS, WARMUP_FILE

# The signature with raw columns (trainer/export.py).
COLUMNS = "predict"

# One client's single row, then batches as TF Serving's batching makes them: each new shape allocates once.
BATCH_SIZES = (1, 8, 32)


def first_examples(split: Path | str, count: int = max(BATCH_SIZES)) -> list[bytes]:
    """The first serialized examples of a split's gzip TFRecords: real requests, as a client would send them."""
    paths = sorted(str(path) for path in Path(split).glob("*") if path.is_file())
    if not paths:
        return []
    dataset = tf.data.TFRecordDataset(paths, compression_type="GZIP").take(count)
    return list(dataset.as_numpy_iterator())


def write(
    model_dir: Path | str,
    examples: Sequence[bytes],
    *,
    scores: Sequence[Sequence[float]] = (),
    batch_sizes: Iterable[int] = BATCH_SIZES,
    signature: str = "serving_default",
    input_name: str = "examples",
) -> Path:
    """Writes one Predict request per batch size into a SavedModel's `assets.extra`.

    A model with the signature `predict`, one input for each column, gets the same rows by it as well.

    Args:
      model_dir: the SavedModel's folder, before it is published.
      examples: serialized tf.Examples of real rows; a batch larger than them repeats them.
      scores: what the model has answered to each example, `[rows, 1]` or `[rows, classes]`; the answers of `signature`
        have them, and `noria serve` compares. TF Serving ignores answers.
      batch_sizes: rows per request.
      signature: name of the signature to call.
      input_name: name of that signature's input, a string tensor `[batch]` of serialized tf.Examples.

    Returns:
      The file.

    Raises:
      ValueError: no examples, or too many batch sizes.
    """
    sizes = list(batch_sizes)
    if not examples:
        raise ValueError("a warm-up file needs at least one example, got none")
    if len(sizes) > MAX_WARMUP_RECORDS:
        raise ValueError(f"TF Serving takes at most {MAX_WARMUP_RECORDS} warm-up records, got {len(sizes)}")
    path = Path(model_dir) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    calls = {signature: {input_name: list(examples)}}
    types = _column_types(Path(model_dir))
    if types:
        calls[COLUMNS] = _columns(examples, types)
    with tf.io.TFRecordWriter(str(path)) as records:
        for name, inputs in calls.items():
            for size in sizes:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.signature_name = name
                for key, values in inputs.items():
                    rows = [values[index % len(values)] for index in range(size)]
                    dtype = types.get(key, "string") if name == COLUMNS else "string"
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(rows, tf.as_dtype(dtype), [size]))
                if scores and name == signature:
                    answers = [scores[index % len(examples)] for index in range(size)]
                    log.predict_log.response.outputs["score"].CopyFrom(
                        tf.make_tensor_proto(answers, tf.float32)
                    )
                records.write(log.SerializeToString())
    return path


def _column_types(model_dir: Path) -> dict[str, str]:
    """The type of each input of the signature `predict`; empty if it is missing, or has inputs of another shape."""
    signature = signature_of(model_dir, COLUMNS)
    inputs = signature.inputs if signature is not None else {}
    if any(len(info.tensor_shape.dim) != 1 for info in inputs.values()):
        return {}
    found = {name: tf.as_dtype(info.dtype).name for name, info in inputs.items()}
    return found if set(found.values()) <= {"float32", "int64", "string"} else {}


def _columns(examples: Sequence[bytes], types: Mapping[str, str]) -> dict[str, list[Any]]:
    """The first value of each column in each example."""
    columns: dict[str, list[Any]] = {name: [] for name in types}
    for each in map(tf.train.Example.FromString, examples):
        for name, dtype in types.items():
            kind = {"float32": "float_list", "int64": "int64_list", "string": "bytes_list"}[dtype]
            values = getattr(each.features.feature[name], kind).value  # empty where there is no such feature
            columns[name].append(values[0] if values else MISSING[dtype])
    return columns

"""TF Serving's warm-up file: real requests that it replays when it loads a version, before users' requests."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from noria.stores.model_directory import MAX_WARMUP_RECORDS, WARMUP_FILE

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
    batch_sizes: Iterable[int] = BATCH_SIZES,
    signature: str = "serving_default",
    input_name: str = "examples",
) -> Path:
    """Writes one Predict request per batch size into a SavedModel's `assets.extra`.

    Args:
      model_dir: the SavedModel's folder, before it is published.
      examples: serialized tf.Examples of real rows; a batch larger than them repeats them.
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
    with tf.io.TFRecordWriter(str(path)) as records:
        for size in sizes:
            rows = [examples[index % len(examples)] for index in range(size)]
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            request.inputs[input_name].CopyFrom(tf.make_tensor_proto(rows, dtype=tf.string, shape=[size]))
            records.write(log.SerializeToString())
    return path

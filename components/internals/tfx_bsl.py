"""tfx_bsl: the coders of tf.Example and the reader of its files. Only `tfx_bsl.public` is documented."""

from collections.abc import Sequence
from typing import Any

from noria.components.keras3 import prefer_keras3

prefer_keras3()

from tfx_bsl.arrow import array_util  # noqa: E402 - only after Keras 3 is fixed
from tfx_bsl.coders import example_coder  # noqa: E402
from tfx_bsl.tfxio import tensor_adapter, tf_example_record  # noqa: E402

ExamplesToRecordBatchDecoder = example_coder.ExamplesToRecordBatchDecoder
RecordBatchToExamplesEncoder = example_coder.RecordBatchToExamplesEncoder
TensorAdapter = tensor_adapter.TensorAdapter
TensorAdapterConfig = tensor_adapter.TensorAdapterConfig
flatten_nested = array_util.flatten_nested


def example_reader(files: Sequence[str], schema: Any) -> tf_example_record.TFExampleRecord:
    """The reader of gzip TFRecords of tf.Example. Its schema decides which columns become which tensors."""
    return tf_example_record.TFExampleRecord(
        list(files), schema=schema, telemetry_descriptors=["noria", "Transform"]
    )

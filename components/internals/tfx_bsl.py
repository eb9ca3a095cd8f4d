"""tfx_bsl: what `tfx_bsl.public` does not have."""

from noria.components.keras3 import prefer_keras3

prefer_keras3()

from tfx_bsl.arrow import array_util  # noqa: E402 - only after Keras 3 is fixed
from tfx_bsl.coders import example_coder  # noqa: E402

ExamplesToRecordBatchDecoder = example_coder.ExamplesToRecordBatchDecoder
flatten_nested = array_util.flatten_nested

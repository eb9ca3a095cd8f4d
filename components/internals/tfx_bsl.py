"""tfx_bsl: what `tfx_bsl.public` does not have."""

import copy
from typing import Any

import numpy as np
import pyarrow as pa

from noria.components.keras3 import prefer_keras3
from noria.components.single_values import numbers_of

tf = prefer_keras3()

from tfx_bsl.arrow import array_util  # noqa: E402 - only after Keras 3 is fixed
from tfx_bsl.coders import example_coder  # noqa: E402
from tfx_bsl.tfxio import tensor_adapter  # noqa: E402

ExamplesToRecordBatchDecoder = example_coder.ExamplesToRecordBatchDecoder
flatten_nested = array_util.flatten_nested


class TensorAdapter(tensor_adapter.TensorAdapter):
    """tfx_bsl's, with the same tensors; sparse columns with one number in each row share their indices.

    On 1,500 columns the indices would take four times the memory of the numbers, and most of the time.
    """

    def eager_tensors(self, batch: pa.RecordBatch) -> dict[str, Any]:
        """`ToBatchTensors(batch, produce_eager_tensors=True)`."""
        if not batch.schema.equals(self._arrow_schema):
            raise ValueError("Expected same schema.")
        places = np.stack([np.arange(batch.num_rows), np.zeros(batch.num_rows, np.int64)], axis=1)
        like = tf.SparseTensor(places, np.zeros(batch.num_rows), [batch.num_rows, 1])
        tensors = {}
        for name, handler in self._type_handlers:
            numbers = None
            if isinstance(handler, tensor_adapter._VarLenSparseTensorHandler):
                numbers = numbers_of(batch.column(handler._column_index))
            if numbers is None:
                tensors[name] = handler.GetTensor(batch, True)
            else:
                tensors[name] = copy.copy(like)
                tensors[name]._values = tf.constant(numbers)
        return tensors

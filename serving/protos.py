"""The messages of tensorflow-serving-api, imported without TensorFlow: 0.5 s instead of 10.

After this module, `tensorflow_serving.apis.*_pb2_grpc` can be imported as well. They are not here because a process
that has imported grpcio should not fork, and the model processes fork.
"""

from typing import Any

from noria.components.internals.tensorflow import empty_package

with empty_package():
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        predict_pb2,
        prediction_log_pb2,
        regression_pb2,
    )
    from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

__all__ = [
    "Example",
    "SignatureDef",
    "SignatureDefMap",
    "TensorProto",
    "classification_pb2",
    "dtype_name",
    "file_system_storage_path_source_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "predict_pb2",
    "prediction_log_pb2",
    "regression_pb2",
]

SignatureDefMap = get_model_metadata_pb2.SignatureDefMap

# The messages of TensorFlow itself, by way of those that contain them.
TensorProto: Any = type(predict_pb2.PredictRequest().inputs["x"])
SignatureDef: Any = type(SignatureDefMap().signature_def["x"])
Example: Any = type(input_pb2.Input().example_list.examples.add())

_DTYPES = {
    number: value.name[len("DT_") :].lower().removesuffix("_ref")
    for number, value in TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number.items()
}


def dtype_name(number: int) -> str:
    """TensorFlow's name of a type's number: `float` for 1. Reference types have their type's name."""
    return _DTYPES.get(number) or f"unknown type {number}"

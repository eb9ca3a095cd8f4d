"""KServe's Python server with a SavedModel, for `python -m benchmarks.serving --kserve PYTHON`.

    PYTHON benchmarks/kserve_server.py FOLDER REST-PORT GRPC-PORT

Runs in an environment with kserve and tensorflow alone. The model is called as KServe's users do it: the signature of
`tf.saved_model.load`. Writes one JSON line: the bytes of a request of KServe's gRPC protocol (V2), in hexadecimal.
"""

import json
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer

NAME = "m"


class Saved(Model):
    """`x` to `y` of a SavedModel."""

    def __init__(self, folder: str):
        super().__init__(NAME)
        self._loaded = tf.saved_model.load(folder)
        self._call = self._loaded.signatures["serving_default"]
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Both protocols: V1's dictionary by REST, V2's request by gRPC."""
        if isinstance(payload, dict):
            return {"predictions": self._y(payload["instances"]).tolist()}
        found = self._y(payload.inputs[0].as_numpy())
        output = InferOutput("y", list(found.shape), "FP32")
        output.set_data_from_numpy(found, binary_data=True)
        return InferResponse("1", NAME, [output])

    def _y(self, x: Any) -> Any:
        return self._call(x=tf.constant(x, tf.float32))["y"].numpy()


def main(folder: str, rest_port: str, grpc_port: str) -> None:
    """Serves until it is ended."""
    x = InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.array([[2.0]], np.float32), binary_data=True)
    request = InferRequest(NAME, [x]).to_grpc()
    print(json.dumps({"request": request.SerializeToString().hex()}), flush=True)
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), 1
    )  # the access log would fill the pipe, which nobody reads further
    server = ModelServer(http_port=int(rest_port), grpc_port=int(grpc_port), enable_latency_logging=False)
    server.start([Saved(folder)])


if __name__ == "__main__":
    main(*sys.argv[1:])

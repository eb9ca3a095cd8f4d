"""Replays a version's `tf_serving_warmup_requests` before it gets traffic, as TF Serving's saved_model_warmup.cc."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noria.serving.grpc_status import Code, StatusError
from noria.serving.protos import prediction_log_pb2
from noria.stores.model_directory import MAX_WARMUP_RECORDS, WARMUP_FILE


def records(folder: Path) -> Iterator[Any]:
    """The PredictionLogs of a version's warm-up file; none if it has no such file.

    Raises:
      StatusError: the file is damaged or has too many records.
    """
    try:
        data = (folder / WARMUP_FILE).read_bytes()
    except FileNotFoundError:
        return
    start = count = 0
    while start < len(data):
        # A TFRecord: length, its checksum, the bytes, their checksum (tensorflow.org/tutorials/load_data/tfrecord).
        end = (
            start + 12 + struct.unpack_from("<Q", data, start)[0]
            if start + 12 <= len(data)
            else len(data) + 1
        )
        if end + 4 > len(data):
            raise StatusError(
                Code.DATA_LOSS, f"the warm-up file is cut off at byte {start}: {folder / WARMUP_FILE}"
            )
        count += 1
        if count > MAX_WARMUP_RECORDS:
            raise StatusError(
                Code.INVALID_ARGUMENT,
                f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) allowed",
            )
        log = prediction_log_pb2.PredictionLog()
        try:
            log.ParseFromString(data[start + 12 : end])
        except Exception as error:  # protobuf's DecodeError differs between its implementations
            raise StatusError(
                Code.INVALID_ARGUMENT, f"Failed to parse warmup record {count}: {folder / WARMUP_FILE}"
            ) from error
        yield log
        start = end + 4

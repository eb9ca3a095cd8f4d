"""The prediction log: what a file holds, and that a full log loses rows instead of time."""

import json
import threading

import pyarrow.parquet as pq

from noria.serving.prediction_log import REQUEST_ID, PredictionLog
from noria.serving.tensors import Tensor, pack

SCORES = {
    "score": Tensor("float", (2, 1), pack("float", [0.25, 0.75])),
    "logit": Tensor("float", (2, 1), pack("float", [1, 2])),
}


def rows(folder) -> list[dict]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_a_row_for_each_example(tmp_path) -> None:
    """Each example is a row, with the request's id, the version, its score and its place."""
    log = PredictionLog(tmp_path)
    REQUEST_ID.set("abc")
    log.add("m", 7, "serving_default", {"examples": Tensor("string", (2,), [b"one", b"two"])}, SCORES)
    columns = {
        "number": Tensor("int64", (1,), pack("int64", [3])),
        "word": Tensor("string", (1,), [b"\xc3\xa9"]),
    }
    log.add("m", 8, "predict", columns, {"y": Tensor("string", (1,), [b"z"])})
    log.close()
    first, second, third = rows(tmp_path)
    assert ("abc", 0, 7, b"one", None, 0.25) == tuple(
        first[name] for name in ("request_id", "row", "version", "example", "columns", "score")
    )
    assert (1, b"two", 0.75) == (second["row"], second["example"], second["score"])
    assert {"score": [0.75], "logit": [2.0]} == json.loads(second["outputs"])
    assert {"number": [3], "word": ["é"]} == json.loads(third["columns"])
    assert (None, None, 8) == (third["example"], third["score"], third["version"])
    assert 2 == log.logged


def test_types_that_json_has_not(tmp_path) -> None:
    """A complex number is a pair, and half numbers are numbers: no type costs the other requests their rows."""
    log = PredictionLog(tmp_path)
    outputs = {
        "z": Tensor("complex64", (1,), pack("float", [1, 2])),
        "h": Tensor("half", (1,), pack("half", [0x3C00])),
        "b": Tensor("bfloat16", (1,), pack("bfloat16", [0x4000])),
    }
    log.add("m", 1, "serving_default", {"x": Tensor("float", (1,), pack("float", [0]))}, outputs)
    log.close()
    (row,) = rows(tmp_path)
    assert {"z": [[1.0, 2.0]], "h": [1.0], "b": [2.0]} == json.loads(row["outputs"])


def test_a_full_log_counts(tmp_path) -> None:
    """While a file is written, requests beyond the bound are lost and counted; the answer does not wait."""
    log, writing = PredictionLog(tmp_path, max_requests=4), threading.Event()
    log._write = lambda requests: writing.wait()  # a disk that hangs
    example = {"examples": Tensor("string", (1,), [b"x"])}
    for _ in range(20):
        log.add("m", 1, "serving_default", example, {})
    assert log.lost >= 20 - 2 * 4
    writing.set()
    log.close()
    assert 20 == log.lost + log.logged

"""What was asked and answered, row by row, in Parquet files: what feedback joins with the labels that arrive later.

A request costs the front one append to a list. A thread makes the files. What does not fit between two files is not
logged, but counted.
"""

import collections
import contextvars
import datetime
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noria.core import files
from noria.serving.tensors import STRING, Tensor, split

LOG = logging.getLogger("noria.serving")

# The id of the request that this task answers: the client's `x-request-id`, or a new one.
REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
# The arm of a rollout that answers: `champion`, `canary`, `ab`, `shadow` or `fallback`.
ARM: contextvars.ContextVar[str] = contextvars.ContextVar("arm", default="champion")


def new_id() -> str:
    return os.urandom(16).hex()


class PredictionLog:
    """Writes `<folder>/<model>/<date>/<time>-<id>.parquet`, each complete when it has its name.

    A row has `request_id`, `row` (its place in the request), `time`, `model`, `version`, `arm`, `signature`, `example`
    (the serialized tf.Example, if the model takes one), `columns` (its inputs as JSON, if it takes columns), `score`
    (the first number of the outputs) and `outputs` (all as JSON).

    Args:
      folder: where to.
      seconds: after which a file is written, if there is anything to write.
      max_requests: requests that wait for the next file; more are lost.
    """

    def __init__(self, folder: Path, seconds: float = 30.0, max_requests: int = 50_000):
        self.folder, self.seconds, self.max_requests = folder, seconds, max_requests
        self.lost = self.logged = 0
        self._waiting: collections.deque[tuple[Any, ...]] = collections.deque()
        self._ending, self._full = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction log", daemon=True)
        self._thread.start()

    def add(
        self,
        model: str,
        version: int,
        signature: str,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
    ) -> None:
        """Logs an answer. Its tensors must not be changed afterwards."""
        if len(self._waiting) >= self.max_requests:
            self.lost += 1
            return
        request = REQUEST_ID.get() or new_id()
        self._waiting.append((time.time(), request, model, version, ARM.get(), signature, inputs, outputs))
        if len(self._waiting) * 2 >= self.max_requests:
            self._full.set()

    def close(self) -> None:
        """Writes what waits."""
        self._ending.set()
        self._full.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ending.is_set():
            self._full.wait(self.seconds)
            self._full.clear()
            requests = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not requests:
                continue
            try:
                self._write(requests)
                self.logged += len(requests)
            except Exception as error:  # a full disk must not end the log permanently
                self.lost += len(requests)
                LOG.error("the prediction log loses %d requests: %s", len(requests), error)

    def _write(self, requests: list[tuple[Any, ...]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        by_model: dict[str, list[dict[str, Any]]] = {}
        for request in requests:
            by_model.setdefault(request[2], []).extend(_rows(*request))
        text, number = pa.string(), pa.int64()
        schema = pa.schema(
            [
                ("request_id", text),
                ("row", number),
                ("time", pa.timestamp("us", "UTC")),
                ("model", text),
                ("version", number),
                ("arm", text),
                ("signature", text),
                ("example", pa.binary()),
                ("columns", text),
                ("score", pa.float64()),
                ("outputs", text),
            ]
        )
        now = datetime.datetime.now(datetime.timezone.utc)
        for model, rows in by_model.items():
            target = self.folder / model / f"{now:%Y-%m-%d}"
            target.mkdir(parents=True, exist_ok=True)
            beside = files.staging(target)
            try:
                pq.write_table(pa.Table.from_pylist(rows, schema), beside)
                files.commit_file(beside, target / f"{now:%H%M%S}-{uuid.uuid4().hex[:8]}.parquet")
            finally:
                beside.unlink(missing_ok=True)


def _rows(
    moment: float,
    request: str,
    model: str,
    version: int,
    arm: str,
    signature: str,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
) -> list[dict[str, Any]]:
    count = max((each.rows for each in inputs.values()), default=1)
    asked, answered = _by_row(inputs, count), _by_row(outputs, count)
    time_ = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)
    only = next(iter(inputs.values())) if len(inputs) == 1 else None
    is_example = only is not None and only.dtype == STRING and next(iter(inputs)) in ("examples", "inputs")
    rows = []
    for place in range(count):
        numbers = (value for value in _flat(answered[place]) if isinstance(value, int | float))
        rows.append(
            {
                "request_id": request,
                "row": place,
                "time": time_,
                "model": model,
                "version": version,
                "arm": arm,
                "signature": signature,
                "example": only.data[place] if is_example and only is not None else None,
                "columns": None if is_example else _json(asked[place]),
                "score": next(numbers, None),
                "outputs": _json(answered[place]),
            }
        )
    return rows


def _by_row(tensors: Mapping[str, Tensor], count: int) -> list[dict[str, list[Any]]]:
    """The values of each row; a tensor without that many rows goes to all of them."""
    parts = {
        name: split(each, [1] * count) if each.rows == count and each.shape else [each] * count
        for name, each in tensors.items()
    }
    return [{name: list(each[place].values()) for name, each in parts.items()} for place in range(count)]


def _flat(row: Mapping[str, list[Any]]) -> list[Any]:
    """Values of a row; `score` first, which is what Noria's models call theirs."""
    names = sorted(row, key=lambda name: (not name.startswith("score"), name))
    return [value for name in names for value in row[name]]


def _json(row: Mapping[str, list[Any]]) -> str:
    return json.dumps(row, default=_plain)


def _plain(value: bytes | complex) -> Any:
    return [value.real, value.imag] if isinstance(value, complex) else value.decode("utf-8", "replace")

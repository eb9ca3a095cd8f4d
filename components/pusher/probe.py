"""Asks a model for predictions in a fresh process that has nothing but TensorFlow, as a server would.

A model that only loads where it was trained (custom ops, Python objects, paths of the training machine) fails
here and not in front of the users. Each process serves exactly one model and ends. Importing TensorFlow is
most of its time, so `start_ahead()` keeps one process that has done that and waits: a resident wheel then
asks without waiting.

The parent imports no TensorFlow. The child reads one JSON line from standard input and answers with one on
standard output; what TensorFlow itself prints goes to a log file that is quoted when the child dies.
"""

import atexit
import base64
import contextlib
import dataclasses
import json
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from noria.stores.errors import GateError

TASKS = ("binary", "multiclass", "regression")

# So many different rows never get one and the same prediction from a model that reads its features.
ROWS_THAT_MUST_DIFFER = 16

# Float32 softmax of a few thousand classes adds up to 1 within 1e-4.
_SUM_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """What a fresh process said.

    Attributes:
      rows: examples asked for.
      shape: of the predictions, `[rows, 1]` or `[rows, classes]`.
      lowest: smallest prediction.
      highest: largest prediction.
      seconds: `import`, `load` and `predict` as measured inside the child, `wait` as the caller waited.
    """

    rows: int
    shape: tuple[int, ...]
    lowest: float
    highest: float
    seconds: dict[str, float]


class Prober:
    """One process, one model. `start()` it ahead to have TensorFlow imported by the time of `probe()`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()

    def start(self) -> "Prober":
        """Starts the process, once; it imports TensorFlow and waits. It ends when this process does."""
        if self._process is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
            environment = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"} | dict(os.environ)
            # TensorFlow's own front door sets it, which the child goes around (`_load_function`).
            environment["TF2_BEHAVIOR"] = "1"
            self._process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the wheel; it closes us in its own time
            )
            threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self

    def probe(
        self,
        model_dir: Path | str,
        examples: Sequence[bytes],
        timeout: float = 120.0,
        *,
        task: str = "binary",
    ) -> ProbeResult:
        """Has `serving_default` predict the examples, and judges what comes back. Ends the process.

        Args:
          model_dir: folder of the SavedModel.
          examples: serialized tf.Examples of real rows.
          timeout: seconds for all of it; the process is killed then.
          task: `binary` (probabilities `[rows, 1]`), `multiclass` (`[rows, classes]`, adding up to 1) or
            `regression` (`[rows, 1]`).

        Raises:
          GateError: the model is missing or doesn't load, the process dies or hangs, or the predictions make
            no sense.
        """
        if task not in TASKS:
            raise GateError(f"a task is one of {', '.join(TASKS)}, got {task!r}", where="the probe")
        if not examples:
            raise GateError("a probe needs at least one real row, got none", where=model_dir)
        if not (Path(model_dir) / "saved_model.pb").is_file():
            raise GateError("there is no saved_model.pb to probe", where=model_dir)
        started = time.monotonic()
        try:
            answer = self._ask(model_dir, examples, timeout)
        finally:
            self.close()
        if "error" in answer:
            raise GateError(answer["error"], where=model_dir, next_step=answer.get("next"))
        seconds = answer["seconds"] | {"wait": time.monotonic() - started}
        values, shape = answer["values"], tuple(answer["shape"])
        fault = judge(values, shape, len(examples), len(set(examples)), task)
        if fault is not None:
            raise GateError(fault, where=model_dir)
        return ProbeResult(len(examples), shape, min(values), max(values), seconds)

    def close(self) -> None:
        """Ends the process, whatever it does."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        with contextlib.suppress(OSError):  # what was still to be written to a dead process
            process.stdin.close()
        if self._log is not None:
            self._log.close()

    @property
    def alive(self) -> bool:
        """True while a process waits for its model."""
        return self._process is not None and self._process.poll() is None

    def _ask(self, model_dir: Path | str, examples: Sequence[bytes], timeout: float) -> dict[str, Any]:
        self.start()
        request = {"model": str(model_dir), "examples": [base64.b64encode(row).decode() for row in examples]}
        # A dead process cannot be written to; its silence below says why.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            return {
                "error": f"the model gave no predictions within {timeout:g} s",
                "next": "look for a lookup or a loop in the serving function that does not end",
            }
        if line is None:
            ending = _ending(self._process.wait())
            return {"error": f"the process that loaded the model {ending}{self._last_words()}"}
        return json.loads(line)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        line = process.stdout.readline()
        self._answers.put(line or None)
        process.stdout.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [
            line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()
        ]
        return f": {lines[-1]}" if lines else ""


def judge(values: Sequence[float], shape: Sequence[int], rows: int, different: int, task: str) -> str | None:
    """Says what is wrong with predictions, or None.

    Args:
      values: the predictions, flat, row by row.
      shape: their shape.
      rows: examples that were asked for.
      different: how many of them differ from each other.
      task: `binary`, `multiclass` or `regression`.
    """
    if task == "multiclass":
        if len(shape) != 2 or shape[0] != rows or shape[1] < 2:
            return f"predictions must have the shape [{rows}, classes], got {list(shape)}"
    elif tuple(shape) not in ((rows, 1), (rows,)):
        return f"predictions must have the shape [{rows}, 1], got {list(shape)}"
    broken = sum(not math.isfinite(value) for value in values)
    if broken:
        return f"{broken} of {len(values)} predictions are not finite numbers"
    if task != "regression" and not all(0.0 <= value <= 1.0 for value in values):
        return f"probabilities must be in [0, 1], got {min(values):g} to {max(values):g}"
    if task == "multiclass":
        width = shape[1]
        sums = [sum(values[start : start + width]) for start in range(0, len(values), width)]
        worst = max(sums, key=lambda total: abs(total - 1.0))
        if abs(worst - 1.0) > _SUM_TOLERANCE:
            return f"each row's probabilities must add up to 1, got {worst:g}"
        rows_seen = {tuple(values[start : start + width]) for start in range(0, len(values), width)}
    else:
        rows_seen = set(values)
    if different >= ROWS_THAT_MUST_DIFFER and len(rows_seen) == 1:
        return f"{different} different rows all get the same prediction, {values[0]:g}"
    return None


_spare: Prober | None = None
_lock = threading.Lock()


def start_ahead() -> None:
    """Starts a process that imports TensorFlow now, for the next `probe()` of this process to use."""
    global _spare
    with _lock:
        if _spare is None or not _spare.alive:
            _spare = Prober().start()


def stop_ahead() -> None:
    """Ends the waiting process, if there is one."""
    global _spare
    with _lock:
        prober, _spare = _spare, None
    if prober is not None:
        prober.close()


atexit.register(stop_ahead)


def probe(
    model_dir: Path | str, examples: Sequence[bytes], timeout: float = 120.0, *, task: str = "binary"
) -> ProbeResult:
    """As `Prober.probe`, in the process that `start_ahead()` left waiting, or in a new one."""
    global _spare
    with _lock:
        prober, _spare = _spare, None
    if prober is None or not prober.alive:
        prober = Prober()
    return prober.probe(model_dir, examples, timeout, task=task)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


# What follows runs in the child.


def _load_function() -> Any:
    """TensorFlow's SavedModel loader, without the rest of TensorFlow's Python: 3 s to import instead of 10.

    `tensorflow/__init__.py` imports every public module. A bare module in its place lets the loader's own
    file be imported alone; all kernels come with the shared library. Where a release moves that file, the
    front door is used.
    """
    import importlib
    import importlib.util
    import types

    found = importlib.util.find_spec("tensorflow")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("no tensorflow")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["tensorflow"] = package
    try:
        loader = importlib.import_module("tensorflow.python.saved_model.load").load
        constant = importlib.import_module("tensorflow.python.framework.constant_op").constant
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow"]:
            del sys.modules[name]
        import tensorflow as tf

        loader, constant = tf.saved_model.load, tf.constant
    return loader, constant


def _answer(request: dict[str, Any], loader: Any, constant: Any) -> dict[str, Any]:
    started = time.monotonic()
    try:
        model = loader(request["model"])
    except Exception as error:
        return {"error": f"the model does not load: {_short(error)}"}
    loaded = time.monotonic()
    signature = model.signatures.get("serving_default")
    if signature is None:
        names = ", ".join(sorted(model.signatures)) or "none"
        return {"error": f"the model must have the signature serving_default; its signatures: {names}"}
    inputs = signature.structured_input_signature[1]
    if list(inputs) != ["examples"]:
        return {
            "error": f"serving_default must take `examples`, serialized tf.Examples, not {sorted(inputs)}"
        }
    rows = [base64.b64decode(row) for row in request["examples"]]
    try:
        outputs = signature(examples=constant(rows))
    except Exception as error:
        return {"error": f"the model does not predict: {_short(error)}"}
    if "score" not in outputs:
        return {"error": f"serving_default must give `score`; it gives {sorted(outputs)}"}
    scores = outputs["score"].numpy()
    seconds = {"load": loaded - started, "predict": time.monotonic() - loaded}
    values = [float(value) for value in scores.ravel()]
    return {"shape": list(scores.shape), "values": values, "seconds": seconds}


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:500]}" if lines else type(error).__name__


def _child() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints to standard output from here on must not mix with the answer
    started = time.monotonic()
    loader, constant = _load_function()
    imported = time.monotonic() - started
    line = sys.stdin.readline()
    if not line:  # the wheel has ended without a model to probe
        return
    answer = _answer(json.loads(line), loader, constant)
    if "seconds" in answer:
        answer["seconds"]["import"] = imported
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    os._exit(0)  # tearing TensorFlow down takes longer than the probe


if __name__ == "__main__":
    _child()

"""Asks a model for predictions in a fresh process that has nothing but TensorFlow, as a server would.

A model that only loads where it was trained (custom ops, Python objects, paths of the training machine) fails
here and not in front of the users. Each model gets a process of its own, forked from one that has imported
TensorFlow and never met a model (`fresh`). `start_ahead()` starts that one, and `ask_ahead()` asks it while the
caller has something else to do. This side imports no TensorFlow.
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

from noria.components import saved_model
from noria.components.pusher import infra_validation_process
from noria.core.errors import GateError

TASKS = ("binary", "multiclass", "regression")

# So many different rows never get one and the same prediction from a model that reads its features.
ROWS_THAT_MUST_DIFFER = 16

# Float32 softmax of a few thousand classes adds up to 1 within 1e-4.
_SUM_TOLERANCE = 1e-3

# Seconds that a question nobody fetched the answer to may still take; then its process is ended.
_UNFETCHED = 20.0


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
    """A process that answers for one model after the other, each in a fork of its own.

    `start()` it ahead to have TensorFlow imported by the time of `probe()`.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._asked = 0
        self._open: tuple[str, tuple[bytes, ...]] | None = (
            None  # model digest and examples of the last question
        )

    def start(self) -> "Prober":
        """Starts the process, once; it imports TensorFlow and waits. It ends when this process does."""
        if self._process is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
            environment = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"} | dict(os.environ)
            # TensorFlow's own front door sets it, which the child goes around (`fresh._load_function`).
            environment |= {"TF2_BEHAVIOR": "1", **infra_validation_process.THREADLESS}
            self._answers = queue.Queue()
            self._process = subprocess.Popen(
                [sys.executable, "-m", infra_validation_process.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the pipeline; it closes us in its own time
            )
            arguments = (self._process, self._answers)
            threading.Thread(target=_listen, args=arguments, daemon=True).start()
        return self

    def ask(self, model_dir: Path | str, examples: Sequence[bytes]) -> None:
        """Sends a question; the `probe()` that follows for the same model and examples takes the answer.

        An earlier one that nobody fetched is waited for first: its model may hang, and is not to be taken for
        this one's.
        """
        if self._open is not None:
            self._open = None
            self._answer(_UNFETCHED)
        self.start()
        self._asked += 1
        self._open = saved_model.digest(Path(model_dir)), tuple(examples)
        rows = [base64.b64encode(row).decode() for row in examples]
        request = {"id": self._asked, "model": str(model_dir), "examples": rows}
        # A dead process cannot be written to; its silence says why when the answer is fetched.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def probe(
        self,
        model_dir: Path | str,
        examples: Sequence[bytes],
        timeout: float = 120.0,
        *,
        task: str = "binary",
    ) -> ProbeResult:
        """Has `serving_default` predict the examples, and judges what comes back.

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
        if self._open != (saved_model.digest(Path(model_dir)), tuple(examples)):
            self.ask(model_dir, examples)
        self._open = None
        answer = self._answer(timeout)
        if "error" in answer:
            raise GateError(answer["error"], where=model_dir, next_step=answer.get("next"))
        seconds = answer["seconds"] | {"wait": time.monotonic() - started}
        values, shape = answer["values"], tuple(answer["shape"])
        fault = judge(values, shape, len(examples), len(set(examples)), task)
        if fault is not None:
            raise GateError(fault, where=model_dir)
        return ProbeResult(len(examples), shape, min(values), max(values), seconds)

    def close(self) -> None:
        """Ends the process and its forks, whatever they do."""
        process, self._process, self._open = self._process, None, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(OSError):  # what was still to be written to a dead process
            process.stdin.close()
        if self._log is not None:
            self._log.close()

    @property
    def alive(self) -> bool:
        """True while the process waits for models."""
        return self._process is not None and self._process.poll() is None

    def _answer(self, timeout: float) -> dict[str, Any]:
        """The answer to the last question."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.close()
                return {
                    "error": f"the model gave no predictions within {timeout:g} s",
                    "next": "look for a lookup or a loop in the serving function that does not end",
                }
            if line is None:
                ending = f"{_ending(self._process.wait())}{self._last_words()}"
                self.close()
                return {"error": f"the process that loaded the model {ending}"}
            answer = json.loads(line)
            if answer["id"] != self._asked:  # a fork that died after it had answered
                continue
            if "died" in answer:
                ending = f"{_ending(answer['died'])}{self._last_words()}"
                return {"error": f"the process that loaded the model {ending}"}
            return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [
            line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()
        ]
        return f": {lines[-1]}" if lines else ""


def _listen(process: subprocess.Popen[str], answers: "queue.Queue[str | None]") -> None:
    for line in process.stdout:
        answers.put(line)
    answers.put(None)
    process.stdout.close()


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


_spare = Prober()
_lock = threading.Lock()


def start_ahead() -> None:
    """Starts the process that imports TensorFlow now, for every `probe()` of this process to use."""
    with _lock:
        if not _spare.alive:
            _spare.close()
            _spare.start()


def ask_ahead(model_dir: Path | str, examples: Sequence[bytes]) -> None:
    """Asks now for what a `probe()` will want to know; does nothing where no process was started ahead."""
    with _lock:
        if _spare.alive:
            _spare.ask(model_dir, examples)


def stop_ahead() -> None:
    """Ends the waiting process, if there is one."""
    with _lock:
        _spare.close()


atexit.register(stop_ahead)


def probe(
    model_dir: Path | str, examples: Sequence[bytes], timeout: float = 120.0, *, task: str = "binary"
) -> ProbeResult:
    """As `Prober.probe`, by the process that `start_ahead()` left waiting, or by a new one that ends with it."""
    with _lock:
        if _spare.alive:
            return _spare.probe(model_dir, examples, timeout, task=task)
    prober = Prober()
    try:
        return prober.probe(model_dir, examples, timeout, task=task)
    finally:
        prober.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"

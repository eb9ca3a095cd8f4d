"""Infra validation: a model must load and predict in a separate process that has TensorFlow only, as a server has.

A model that loads only where it was trained (custom ops, Python objects, paths of the training machine) fails here and
not when users call it. Each model gets a new process: a fork of one that has imported TensorFlow and has loaded no
model (`process`). `start()` starts that one in advance. `submit()` sends a model to it while the caller has other
work. This module does not import TensorFlow.
"""

import atexit
import base64
import contextlib
import dataclasses
import json
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
from noria.components.infra_validation import predictions, process
from noria.core.errors import GateError
from noria.core.tasks import TASKS

# Seconds that a submitted model may still take when nobody wants its result; then its process is killed.
_ABANDONED = 20.0
_LOOK_SECONDS = 1.0  # between two looks at whether the process lives


@dataclasses.dataclass(frozen=True)
class InfraValidationResult:
    """The predictions of a model that passed.

    Attributes:
      rows: number of examples.
      shape: of the predictions, `[rows, 1]` or `[rows, classes]`.
      values: the predictions, flat, row by row.
      seconds: `import`, `load` and `predict` as measured in the process, `wait` as the caller waited.
    """

    rows: int
    shape: tuple[int, ...]
    values: tuple[float, ...]
    seconds: dict[str, float]


class InfraValidator:
    """Validates one model after the other, each in a fork of one process.

    `start()` it in advance to have TensorFlow imported by the time of `validate()`.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self._results: queue.Queue[str | None] = queue.Queue()
        self._submitted = 0
        # Model digest and examples that were submitted and have no result yet.
        self._pending: tuple[str, tuple[bytes, ...]] | None = None

    def start(self) -> "InfraValidator":
        """Starts the process, once; it imports TensorFlow and waits. It ends with this process."""
        if self._process is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
            environment = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"} | dict(os.environ)
            # `import tensorflow` would set it; the process imports the loader alone (`saved_model_loader`).
            environment |= {"TF2_BEHAVIOR": "1", **process.THREADLESS}
            self._results = queue.Queue()
            self._process = subprocess.Popen(
                [sys.executable, "-m", process.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
                start_new_session=True,  # The pipeline handles Ctrl-C and closes the process
            )
            arguments = (self._process, self._results)
            threading.Thread(target=_listen, args=arguments, daemon=True).start()
        return self

    def submit(self, model_dir: Path | str, examples: Sequence[bytes]) -> None:
        """Sends a model and examples; `validate()` for the same ones takes the result.

        A result that nobody has taken is waited for first: its model may hang, which must not count against this one.
        """
        if self._pending is not None:
            self._pending = None
            self._result(_ABANDONED)
        self.start()
        self._submitted += 1
        self._pending = saved_model.digest(Path(model_dir)), tuple(examples)
        rows = [base64.b64encode(row).decode() for row in examples]
        request = {"id": self._submitted, "model": str(model_dir), "examples": rows}
        assert self._process is not None and self._process.stdin is not None, "`start` has opened them"
        # Writing to a dead process fails; `validate` finds out why it is dead.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def validate(
        self,
        model_dir: Path | str,
        examples: Sequence[bytes],
        timeout: float = 120.0,
        *,
        task: str = "binary",
    ) -> InfraValidationResult:
        """Lets `serving_default` predict the examples, and checks the predictions.

        Args:
          model_dir: folder of the SavedModel.
          examples: serialized tf.Examples of real rows.
          timeout: seconds for all of it; the process is killed then.
          task: `binary` (probabilities `[rows, 1]`), `multiclass` (`[rows, classes]`, adding up to 1) or
            `regression` (`[rows, 1]`).

        Raises:
          GateError: the model is missing or does not load, the process dies or hangs, or the predictions are wrong.
        """
        if task not in TASKS:
            raise GateError(
                f"the task must be one of {', '.join(TASKS)}, got {task!r}",
                where="infra validation",
            )
        if not examples:
            raise GateError("infra validation needs at least one real row, got none", where=model_dir)
        if not (Path(model_dir) / "saved_model.pb").is_file():
            raise GateError("there is no saved_model.pb", where=model_dir)
        started = time.monotonic()
        if self._pending != (saved_model.digest(Path(model_dir)), tuple(examples)):
            self.submit(model_dir, examples)
        self._pending = None
        result = self._result(timeout)
        if "error" in result:
            raise GateError(result["error"], where=model_dir, next_step=result.get("next"))
        seconds = result["seconds"] | {"wait": time.monotonic() - started}
        values, shape = result["values"], tuple(result["shape"])
        fault = predictions.fault(values, shape, len(examples), len(set(examples)), task)
        if fault is not None:
            raise GateError(fault, where=model_dir)
        return InfraValidationResult(len(examples), shape, tuple(values), seconds)

    def close(self) -> None:
        """Kills the process and its forks."""
        child, self._process, self._pending = self._process, None, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert child.stdin is not None, "`start` has opened it"
        with contextlib.suppress(OSError):  # closing writes the rest to a dead process
            child.stdin.close()
        if self._log is not None:
            self._log.close()

    @property
    def alive(self) -> bool:
        """True while the process waits for models."""
        return self._process is not None and self._process.poll() is None

    def _result(self, timeout: float) -> dict[str, Any]:
        """The result of the model that was submitted last."""
        assert self._process is not None, "`submit` has started it"
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                line = self._results.get(timeout=min(_LOOK_SECONDS, max(0.0, left)))
            except queue.Empty:
                if self._process.poll() is not None:
                    line = None  # a fork that still runs keeps the pipe open
                elif left > _LOOK_SECONDS:
                    continue
                else:
                    return self._hangs(timeout)
            if line is None:
                ending = f"{_ending(self._process.wait())}{self._last_line()}"
                self.close()
                return {"error": f"the process that loaded the model {ending}"}
            result = json.loads(line)
            if result["id"] != self._submitted:  # of a fork that died after its result
                continue
            if "died" in result:
                ending = f"{_ending(result['died'])}{self._last_line()}"
                return {"error": f"the process that loaded the model {ending}"}
            return result

    def _hangs(self, timeout: float) -> dict[str, Any]:
        self.close()
        return {
            "error": f"the model gave no predictions within {timeout:g} s",
            "next": "look for an endless loop in the serving function",
        }

    def _last_line(self) -> str:
        assert self._log is not None, "`start` has opened it"
        self._log.seek(0)
        lines = [
            line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()
        ]
        return f": {lines[-1]}" if lines else ""


def _listen(child: subprocess.Popen[str], results: "queue.Queue[str | None]") -> None:
    assert child.stdout is not None, "`start` has opened it"
    for line in child.stdout:
        results.put(line)
    results.put(None)
    child.stdout.close()


_shared = InfraValidator()
_lock = threading.Lock()


def start() -> None:
    """Starts the process that imports TensorFlow; every `validate()` in this process then uses it."""
    with _lock:
        if not _shared.alive:
            _shared.close()
            _shared.start()


def submit(model_dir: Path | str, examples: Sequence[bytes]) -> None:
    """Sends a model that `validate()` will be called for; does nothing without `start()`."""
    with _lock:
        if _shared.alive:
            _shared.submit(model_dir, examples)


def stop() -> None:
    """Ends the process, if there is one."""
    with _lock:
        _shared.close()


atexit.register(stop)


def validate(
    model_dir: Path | str, examples: Sequence[bytes], timeout: float = 120.0, *, task: str = "binary"
) -> InfraValidationResult:
    """As `InfraValidator.validate`, in the process of `start()`, or in a new one that ends after it."""
    with _lock:
        if _shared.alive:
            return _shared.validate(model_dir, examples, timeout, task=task)
    validator = InfraValidator()
    try:
        return validator.validate(model_dir, examples, timeout, task=task)
    finally:
        validator.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"

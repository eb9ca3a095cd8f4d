"""The process that the probe asks: TensorFlow's SavedModel loader and nothing else.

It imports TensorFlow once, then forks for each question: a fork is as fresh as a new process, since this one never
loads a model nor starts TensorFlow's runtime, and it costs no import (3 s of processor time). Forking is safe as
long as there is one thread; where there are more (or no /proc to count them), it answers one question itself and
ends.

One JSON line per question on standard input: {"id", "model", "examples"}; one per answer on standard output: the id
with {"shape", "values", "seconds"}, {"error", "next"}, or {"died": status} of a fork. What TensorFlow itself prints
goes to standard error, which the parent keeps in a file.
"""

import base64
import json
import os
import sys
import time
from typing import IO, Any

# Read when numpy is imported: its threads would make the process unfit to fork.
THREADLESS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def serve() -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints to standard output from here on must not mix with the answers
    started = time.monotonic()
    loader, constant = _load_function()
    imported = time.monotonic() - started
    # Not sys.stdin: a fork would hold a copy of what Python has read ahead.
    with os.fdopen(os.dup(0), "r", encoding="utf-8") as questions:
        while line := questions.readline():
            request = json.loads(line)
            if not _may_fork():
                _tell(answers, request, _answer(request, loader, constant), imported)
                break
            child = os.fork()
            if child == 0:
                _tell(answers, request, _answer(request, loader, constant), imported)
                os._exit(0)  # tearing TensorFlow down takes longer than the probe
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != 0:
                _tell(answers, request, {"died": status}, imported)
    os._exit(0)


def _tell(answers: IO[str], request: dict[str, Any], answer: dict[str, Any], imported: float) -> None:
    if "seconds" in answer:
        answer["seconds"]["import"] = imported
    answers.write(json.dumps({"id": request["id"], **answer}) + "\n")
    answers.flush()


def _may_fork() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


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


if __name__ == "__main__":
    serve()

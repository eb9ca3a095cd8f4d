"""The process of infra validation: TensorFlow's SavedModel loader and nothing else.

It imports TensorFlow once, then forks for each model. A fork is as clean as a new process, because this one never
loads a model nor starts TensorFlow's runtime, and it costs no import (3 s of processor time). Forking is safe with one
thread. With more threads, or without /proc to count them, the process validates one model itself and ends.

One JSON line per model on standard input: {"id", "model", "examples"}. One per result on standard output: the id with
{"shape", "values", "seconds"}, {"error", "next"}, or {"died": status} of a fork. TensorFlow's own output goes to
standard error, which the parent keeps in a file.
"""

import base64
import json
import os
import time
from typing import IO, Any

from noria.components.internals.tensorflow import saved_model_loader

# numpy reads these when it is imported; with its threads the process could not fork.
THREADLESS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def serve() -> None:
    """Validates models until standard input ends."""
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing else may print between the results
    started = time.monotonic()
    loader, constant = saved_model_loader()
    imported = time.monotonic() - started
    # Not sys.stdin: a fork would have a copy of what Python has read in advance.
    with os.fdopen(os.dup(0), "r", encoding="utf-8") as requests:
        while line := requests.readline():
            request = json.loads(line)
            if not _may_fork():
                _send(results, request, _validate(request, loader, constant), imported)
                break
            child = os.fork()
            if child == 0:
                _send(results, request, _validate(request, loader, constant), imported)
                os._exit(0)  # to shut TensorFlow down takes longer than the validation
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != 0:
                _send(results, request, {"died": status}, imported)
    os._exit(0)


def _send(results: IO[str], request: dict[str, Any], result: dict[str, Any], imported: float) -> None:
    if "seconds" in result:
        result["seconds"]["import"] = imported
    results.write(json.dumps({"id": request["id"], **result}) + "\n")
    results.flush()


def _may_fork() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _validate(request: dict[str, Any], loader: Any, constant: Any) -> dict[str, Any]:
    started = time.monotonic()
    try:
        model = loader(request["model"])
    except Exception as error:  # a damaged or foreign model raises almost anything
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
    except Exception as error:  # the operations of the user's graph raise what they want
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

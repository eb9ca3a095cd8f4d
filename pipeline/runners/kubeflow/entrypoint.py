"""What runs in each task's container: `python -m noria.pipeline.runners.kubeflow.entrypoint`.

TFX's own entrypoint fails on open-source Kubeflow Pipelines (docs/decisions/0007): inputs come without types,
an extra output of an unknown type is requested, and no library reads `minio://`. This one reads the launcher's
request (`runtime.py`), calls the executor on local folders, and writes what the launcher collects.

Arguments are those that TFX's compiler writes, and two of ours before them:

    --home                              the home, where the run's journal is kept: a folder or a URL
    --project                           the project's folder, put on Python's path
    --executor_class_path               the executor
    --json_serialized_invocation_args   Kubeflow's ExecutorInput
    --json_serialized_inputs_spec_args  the component's inputs, with their types
    anything else                       Beam's arguments

A `NoriaError` ends as one message on standard error and exit code 1; a bug as its traceback.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noria.components import journal, keras3
from noria.core import files
from noria.core.errors import ConfigError, NoriaError, ThinError
from noria.core.user_code import add_project

TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes makes it in each container
TERMINATION_BYTES = 4096  # more is cut off

if TYPE_CHECKING:
    from noria.pipeline.runners.kubeflow.runtime import Invocation


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one task; returns 0, or 1 after a `NoriaError`."""
    arguments, beam_args = _parser().parse_known_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _share_project(arguments.project)
    # Not ensure_keras3: most tasks never need tensorflow_transform, which brings Beam, seconds of each task.
    keras3.settle_keras3()
    from noria.pipeline.runners.kubeflow import container_project, runtime, tasklog, ui

    mirror = runtime.Mirror()
    try:
        invocation = runtime.parse(
            json.loads(arguments.json_serialized_invocation_args),
            json.loads(arguments.json_serialized_inputs_spec_args),
            mirror,
        )
        file = None
        home = container_project.open_home(arguments.home)
        if arguments.home and invocation.run_id:
            folder = tasklog.folder(home, invocation.run_id)
            file = folder / f"{invocation.task}.jsonl"
        with _explained("the home folder cannot be written to", arguments.home):
            handler = tasklog.Handler(file)
        with journal.written_by(handler):
            try:
                execute(arguments.executor_class_path, invocation, beam_args)
            except Exception as error:
                if file is not None:
                    with contextlib.suppress(Exception):  # the error itself matters more
                        _end_run(home, invocation, error)
                raise
            answer = runtime.executor_output(invocation.outputs, mirror)
            judged = next((Path(each.uri) for each in invocation.inputs.get("evaluation", ())), None)
            answer["artifacts"] |= ui.fill(invocation.pictures, home, invocation.run_id, judged)
            output = json.dumps(answer)
        with _explained("the task's outputs cannot be written", invocation.output_file):
            invocation.output_file.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(invocation.output_file, output)
    except NoriaError as error:
        sys.stderr.write(f"error {error}\n")
        leave_message(str(error))
        return 1
    except Exception as error:
        leave_message(f"{type(error).__name__}: {error}")
        raise
    return 0


def execute(class_path: str, invocation: "Invocation", beam_args: Sequence[str]) -> None:
    """Calls the executor's `Do`; what it sets on the output artifacts stays there.

    Raises:
      NoriaError: the executor's own, or an output folder cannot be written.
    """
    from tfx.dsl.components.base import base_executor
    from tfx.utils import import_utils

    for name, [artifact] in invocation.outputs.items():
        with _explained(f"the output {name!r} has no folder to be written to", artifact.uri):
            Path(artifact.uri).parent.mkdir(parents=True, exist_ok=True)
    executor_class: Any = import_utils.import_class_by_path(class_path)
    keras3.forget()
    # A subclass has imported its base; importing it here would bring Beam into every task.
    beam_base = sys.modules.get("tfx.dsl.components.base.base_beam_executor")
    with tempfile.TemporaryDirectory(prefix="noria-task-") as scratch:
        context_fields: dict[str, Any] = {"unique_id": invocation.run_id, "tmp_dir": scratch}
        if beam_base is not None and issubclass(executor_class, beam_base.BaseBeamExecutor):
            context = executor_class.Context(beam_pipeline_args=list(beam_args), **context_fields)
        else:
            context = base_executor.BaseExecutor.Context(extra_flags=list(beam_args), **context_fields)
        executor_class(context).Do(invocation.inputs, invocation.outputs, invocation.exec_properties)
    for [artifact] in invocation.outputs.values():
        _complete(Path(artifact.uri))


def _complete(output: Path) -> None:
    """Makes an output that the executor has not written, such as a Trainer's `model_run`.

    After 2.18 Kubeflow fails a task without a declared output. It uploads files only, so the folder gets one.
    """
    if not output.exists():
        output.mkdir(parents=True)
        (output / "empty").touch()


def leave_message(text: str) -> None:
    """Leaves the reason where Kubernetes reads it: it becomes part of the pod's status, and of Argo's message."""
    with contextlib.suppress(OSError):
        if TERMINATION_LOG.is_file():
            TERMINATION_LOG.write_bytes(text.encode()[:TERMINATION_BYTES])


def _end_run(home: Path, invocation: "Invocation", error: Exception) -> None:
    """Ends a run whose task `Report` is never reached: a task failed, or found the span thin."""
    from noria.pipeline.runners.kubeflow import tasklog
    from noria.pipeline.runs.recorder import RunRecorder

    recorder = RunRecorder(home, invocation.project, invocation.run_id)
    records = tasklog.read(home, invocation.run_id)
    span = tasklog.span(records)
    if isinstance(error, ThinError):
        recorder.close(records, {})
    elif span is not None:
        recorder.fail(span, error, records, {})


def _share_project(project: str) -> None:
    """The project's code is found here and in the processes that a task starts (infra validation, Beam's workers)."""
    if project:
        add_project(project)
        paths = [project, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))


def _explained(what: str, where: str | Path) -> Any:
    return files.explained(f"{what}, on the pipeline's volume or below its root", Path(where), ConfigError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m noria.pipeline.runners.kubeflow.entrypoint", allow_abbrev=False
    )
    parser.add_argument("--home", default="")
    parser.add_argument("--project", default="")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}")
    return parser


if __name__ == "__main__":
    sys.exit(main())

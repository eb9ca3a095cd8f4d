"""Transform's work: decides by the rule, then reuses or refreshes, in process or on Beam."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from tfx import types
from tfx.types import artifact_utils

from noria.components import execution, journal
from noria.components.artifacts import present
from noria.components.internals.tfx_beam import BeamExecutor
from noria.components.transform import reuse
from noria.components.transform.request import Request
from noria.core import user_code
from noria.core.code_digest import code_digest, local_modules
from noria.core.errors import ConfigError, DataError, NoriaError
from noria.schemas import loader


class Executor(BeamExecutor):
    """Passes artifacts to `transform`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        graph = artifact_utils.get_single_instance(output_dict["transform_graph"])
        transformed = artifact_utils.get_single_instance(output_dict["transformed_examples"])
        champion = present(input_dict.get("champion"))
        request = Request(
            examples=examples.uri,
            splits=artifact_utils.decode_split_names(examples.split_names),
            schema=loader.load(
                os.path.join(artifact_utils.get_single_uri(input_dict["schema"]), "schema.pbtxt")
            ),
            champion=champion.uri if champion is not None else None,
            verdict=_verdict(input_dict.get("verdict")),
            graph=graph.uri,
            transformed=transformed.uri,
            preprocessing=exec_properties["preprocessing"],
            label=exec_properties.get("label") or "",
            home=exec_properties.get("home") or "",
            project=exec_properties.get("project") or "",
            execution=exec_properties.get("execution") or "auto",
        )
        with journal.stage("Transform", span=examples.span) as stage:
            decision = transform(request, stage, self.beam_pipeline, self.beam_args)
        graph.set_string_custom_property("transform", decision.transform)
        graph.set_string_custom_property("reason", decision.reason)
        graph.set_string_custom_property("inputs", json.dumps(decision.inputs, sort_keys=True))
        transformed.split_names = examples.split_names
        transformed.span = examples.span


def transform(
    request: Request,
    stage: journal.Stage,
    make_pipeline: Callable[[], Any] | None = None,
    beam_args: list[Any] | None = None,
) -> reuse.Decision:
    """Writes the transform graph and the transformed examples.

    Args:
      request: inputs and outputs.
      stage: gets the decision with its inputs, the path and its reason, and the rows.
      make_pipeline: starts a Beam pipeline; None for a DirectRunner in this process.
      beam_args: the component's Beam arguments, which name the runner.

    Raises:
      ConfigError: the preprocessing_fn cannot be imported, traced or used, or `execution` is unknown.
      DataError: there are no train examples.
    """
    from noria.components.transform import job  # imports TensorFlow, which takes seconds

    execution.choose(request.execution, 0)  # raises for an unknown value before anything is read
    if not request.files("train"):
        raise DataError(
            "there are no train examples to transform",
            where=os.path.join(request.examples, "Split-train"),
            next_step="check that the window has labelled rows: `noria status` lists the spans",
        )
    user_code.load_function(
        request.preprocessing, request.project
    )  # fails early, with the location of the error
    now = reuse.Record(
        request.preprocessing,
        code_digest(request.preprocessing, request.project),
        loader.digest(request.schema),
        request.label,
    )
    champion_graph = os.path.join(request.champion, "transform_graph") if request.champion else ""
    champion = reuse.read_record(champion_graph) if champion_graph else None
    function = user_code.UserFunction(request.preprocessing, request.project)
    with tempfile.TemporaryDirectory(prefix="noria-transform-") as temp_dir:
        running = job.TransformJob(request, function, now, temp_dir, make_pipeline, beam_args or [], stage)
        decision = reuse.before_reading(champion, request.champion is not None, request.verdict, now)
        try:
            if decision is None and champion is not None:
                counted = running.apply(champion_graph, "train", champion.outside)
                decision = reuse.after_reading(champion, counted.shares(), counted.rows)
            assert decision is not None
            stage.note(transform=decision.transform, reason=decision.reason, inputs=decision.inputs)
            if decision.transform == "reused":
                shutil.copytree(champion_graph, request.graph, dirs_exist_ok=True)
                graph = champion_graph
            else:
                record = running.refresh()
                graph = request.graph
                reuse.write_record(graph, record)
            running.uncache("train")
            for split in request.splits:
                if split != "train":
                    running.apply(graph, split, {})
                    running.uncache(split)
        except NoriaError:
            raise
        except Exception as error:  # of the user's code, or of TFT that ran it
            raise _user_error(error, request) from error
        finally:
            running.clean()
    stage.note(rows=running.rows, path=running.path, path_reason=running.path_reason)
    return decision


def _user_error(error: Exception, request: Request) -> Exception:
    """A ConfigError if the error comes from the user's code or graph, otherwise the error itself."""
    from noria.components.keras3 import ensure_keras3

    module, _ = user_code.split_path(request.preprocessing)
    files = {str(file) for file in local_modules(module, request.project).values()}
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    location = next(filter(None, (user_code.where_it_failed(cause, files) for cause in chain)), None)
    # An operation in the graph fails after the function has returned: no frame points to it.
    invalid = ensure_keras3().errors.InvalidArgumentError
    in_graph = next((cause for cause in chain if isinstance(cause, invalid)), None)
    if location is None and in_graph is None:
        return error
    cause = in_graph or chain[-1]
    return ConfigError(
        f"{request.preprocessing} failed: {type(error).__name__}: {str(cause).strip()[:500]}",
        where=location or user_code.where_defined(request.preprocessing, request.project),
        next_step="correct the preprocessing function and run again",
    )


def _verdict(artifacts: list[types.Artifact] | None) -> str:
    return artifacts[0].get_string_custom_property("verdict") if artifacts else "ok"

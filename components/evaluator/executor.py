"""Evaluates both models in this process or through Beam, and writes metrics, verdict and blessing."""

import json
import os
from pathlib import Path
from typing import Any

from noria.components.keras3 import ensure_keras3

ensure_keras3()

import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.util import tfxio_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils
from tfx_bsl.public import tfxio

from noria.components import execution, journal, warmup_requests
from noria.components.artifacts import present, twin_of
from noria.components.evaluator import curves, eval_config, gate, in_process, model_verdict, rows, twin_loss
from noria.components.evaluator.older_model import older_types
from noria.components.evaluator.settings import EvaluatorSettings
from noria.components.infra_validation import validator
from noria.components.internals.tfx_beam import BeamExecutor
from noria.core.settings import read_json
from noria.schemas import loader
from noria.stores.versions import TWIN


class Executor(BeamExecutor):
    """Reads the raw eval split; needs neither the transformed examples nor the Trainer's code."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes TFMA's files and `model_verdict.json` into `evaluation`, and the blessing into `blessing`.

        In process, `curves.json` too (`curves.py`).

        Raises:
          ConfigError: a setting or `execution` has a wrong value, or a user's metric cannot be imported.
          GateError: a bound does not fit the task, or a slice's column or a model cannot be used.
          DataError: a row without a label.
        """
        with journal.stage("Evaluator") as stage:
            examples = artifact_utils.get_single_instance(input_dict["examples"])
            model = artifact_utils.get_single_instance(input_dict["model"])
            champion = present(input_dict.get("champion"))
            evaluation = Path(artifact_utils.get_single_uri(output_dict["evaluation"]))
            evaluation.mkdir(parents=True, exist_ok=True)
            # The Pusher's question; where its process waits already, the answer comes while the rows are judged.
            split = artifact_utils.get_split_uri(input_dict["examples"], "eval")
            validator.submit(_serving(model), warmup_requests.first_examples(split))
            schema = loader.load(Path(artifact_utils.get_single_uri(input_dict["schema"])) / "schema.pbtxt")
            label, task = exec_properties["label"], exec_properties["task"]
            models = {eval_config.CHALLENGER: _serving(model)}
            if champion is not None:
                models[eval_config.CHAMPION] = _serving(champion)
            settings = read_json(EvaluatorSettings, exec_properties["gate"], "gates.model")
            gate.check_columns(settings, label, (feature.name for feature in schema.feature))
            judged_by = gate.build(
                settings,
                task,
                first_run=champion is None,
                rows=_rows(examples),
                project=exec_properties["project"],
            )
            config = tfma.utils.update_eval_config_with_defaults(
                eval_config.build(judged_by, label, champion is not None),
                has_baseline=champion is not None,
                rubber_stamp=True,  # a first run has no baseline, and that is not an error
            )
            size = sum(os.path.getsize(file) for file in _files(examples))
            path, reason = execution.choose(exec_properties["execution"], size, self.beam_args)
            older = {} if champion is None else older_types(Path(champion.uri), schema)
            if path == "beam" and champion and (older or _outputs(champion) != _outputs(model)):
                path, reason = (
                    "in-process",
                    "a column or the classes have changed since the champion was made",
                )
            stage.note(path=path, reason=reason, champion=_version(champion) or "absent")
            problems: list[str] = []
            if path == "in-process":
                problems = self._in_process(
                    models, examples, label, judged_by, schema, config, evaluation, older
                )
            else:
                self._beam(models, input_dict["examples"], schema, config, evaluation)

            slices = [] if problems else load(evaluation)
            judged = model_verdict.judge(
                judged_by,
                slices,
                validation_ok=bool(slices) and tfma.load_validation_result(str(evaluation)).validation_ok,
                champion=_version(champion),
                problems=problems,
            )
            twin = twin_of(champion)
            # On a span that one of them has learnt, they cannot be compared.
            if champion is not None and twin is not None and examples.span not in twin.spans:
                served = models[eval_config.CHAMPION]
                judged["twin"] = twin_loss.measure(twin, served, older, _files(examples), label, task, schema)
                stage.note(twin=judged["twin"])
            if examples.get_string_custom_property("mode") == TWIN:
                judged["alarms"] = []  # about what a run publishes; this one publishes nothing
            (evaluation / "model_verdict.json").write_text(
                json.dumps(judged, indent=1, allow_nan=False) + "\n", encoding="utf-8"
            )
            _bless(artifact_utils.get_single_instance(output_dict["blessing"]), judged, model, champion)
            overall = judged["metrics"]["challenger"]
            stage.note(
                rows=int(overall.get("example_count") or 0),
                slices=len(judged["slices"]),
                blessed=judged["blessed"],
                reasons=judged["reasons"],
                alarms=judged["alarms"],
                metrics=judged["metrics"],
            )

    def _in_process(
        self,
        models: dict[str, Path],
        examples: types.Artifact,
        label: str,
        judged_by: gate.Gate,
        schema: schema_pb2.Schema,
        config: config_pb2.EvalConfig,
        output: Path,
        older: dict[str, int],
    ) -> list[str]:
        """Evaluates, or returns what keeps these rows or predictions from being judged."""
        columns = sorted({column for slicing in judged_by.slices for column in slicing})
        data = rows.read(_files(examples), models, label, columns, schema, {eval_config.CHAMPION: older})
        names = {eval_config.CHALLENGER: "challenger", eval_config.CHAMPION: "champion"}
        problems = rows.problems(data, judged_by.task, names)
        if not problems:
            locations = {name: str(path) for name, path in models.items()}
            in_process.evaluate(data, judged_by, config, output, locations)
            curves.write(output / curves.FILE, data.labels, data.predictions, judged_by.task, names)
        return problems

    def _beam(
        self,
        models: dict[str, Path],
        examples: list[types.Artifact],
        schema: schema_pb2.Schema,
        config: config_pb2.EvalConfig,
        output: Path,
    ) -> None:
        """TFMA's own pipeline, as TFX's Evaluator runs it."""
        shared = [
            tfma.default_eval_shared_model(
                eval_saved_model_path=str(path),
                model_name=name if len(models) > 1 else "",
                eval_config=config,
            )
            for name, path in models.items()
        ]
        factory = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=examples,
            telemetry_descriptors=["Evaluator"],
            schema=schema,
            raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
        )
        uri = artifact_utils.get_split_uri(examples, "eval")
        source = factory(io_utils.all_files_pattern(uri))
        adapter = tfxio.TensorAdapterConfig(
            arrow_schema=source.ArrowSchema(), tensor_representations=source.TensorRepresentations()
        )
        with self.beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Read" >> source.BeamSource()
                | "Evaluate"
                >> tfma.ExtractEvaluateAndWriteResults(
                    eval_shared_model=shared if len(shared) > 1 else shared[0],
                    eval_config=config,
                    output_path=str(output),
                    tensor_adapter_config=adapter,
                )
            )


def load(evaluation: Path) -> list[model_verdict.SliceMetrics]:
    """Reads the metrics that either path wrote, all rows first."""
    slices = []
    for proto in tfma.load_metrics(str(evaluation)):
        key = {part.column: _value(part) for part in proto.slice_key.single_slice_keys}
        challenger: dict[str, float] = {}
        champion: dict[str, float] = {}
        differences: dict[str, float] = {}
        for entry in proto.metric_keys_and_values:
            if entry.value.WhichOneof("type") != "double_value":
                continue
            target = champion if entry.key.model_name == eval_config.CHAMPION else challenger
            target = differences if entry.key.is_diff else target
            target[entry.key.name] = entry.value.double_value.value
        slices.append(
            model_verdict.SliceMetrics(
                slice=key,
                challenger=challenger,
                champion=champion or None,
                loss_change=differences.get(eval_config.PAIRED),
                loss_change_error=differences.get(f"{eval_config.PAIRED}_standard_error"),
            )
        )
    return sorted(slices, key=lambda part: (len(part.slice), part.name))


def _value(part: Any) -> Any:
    kind = part.WhichOneof("kind")
    value = getattr(part, kind)
    return value.decode("utf-8") if kind == "bytes_value" else value


def _files(examples: types.Artifact) -> list[str]:
    folder = Path(artifact_utils.get_split_uri([examples], "eval"))
    return sorted(str(path) for path in folder.glob("*") if path.is_file())


def _serving(model: types.Artifact) -> Path:
    return Path(path_utils.serving_model_path(model.uri))


def _rows(examples: types.Artifact) -> int | None:
    """Rows of the eval split, as SpanExampleGen has counted them; None of examples that others have made."""
    return json.loads(examples.get_string_custom_property("rows") or "{}").get("eval")


def _version(champion: types.Artifact | None) -> int | None:
    return None if champion is None else champion.get_int_custom_property("version")


def _outputs(model: types.Artifact | None) -> int | None:
    """How many scores a model gives for a row; None where it is not known."""
    if model is None:
        return None
    try:
        manifest = json.loads((Path(model.uri) / "checkpoint" / "manifest.json").read_text(encoding="utf-8"))
        return manifest["model"]["outputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bless(
    blessing: types.Artifact, judged: dict[str, Any], model: types.Artifact, champion: types.Artifact | None
) -> None:
    """As TFX's Evaluator writes it, so that every Pusher understands it."""
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if champion is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, champion.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, champion.id)
    # Kubeflow's last tasks are chosen by it: an alarm ends a run with a separate task.
    blessing.set_string_custom_property("alarm", "yes" if judged["alarms"] else "no")
    good = judged["blessed"]
    name = constants.BLESSED_FILE_NAME if good else constants.NOT_BLESSED_FILE_NAME
    folder = Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("", encoding="utf-8")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if good else constants.NOT_BLESSED_VALUE,
    )

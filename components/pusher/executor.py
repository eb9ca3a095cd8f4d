"""Probes, registers, publishes, records the run; in this order, so that a kill leaves nothing half-served."""

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.pusher import executor as tfx_pusher
from tfx.types import artifact_utils

from noria.components import journal
from noria.components.champion.executor import present
from noria.components.pusher import infra_validation, warmup
from noria.core import files
from noria.core.errors import GateError
from noria.stores.publication import Publication
from noria.stores.recovery import retain
from noria.stores.registry import Registry, run_of
from noria.stores.versions import PUBLISHED, REGISTERED


class Executor(tfx_pusher.Executor):
    """TFX's Pusher, from whom the blessing check and the model's path come."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Makes the challenger a version of the registry, and serves it if it is blessed and answers.

        A challenger that is not blessed is registered as rejected, with its verdict and its files, so that
        `noria promote --force` has something to promote. One that is blessed but does not answer in a fresh
        process is rejected too, with the reason. One that was judged against a champion that does not serve any
        more stays registered, with the reason; its span waits for another run.
        """
        with journal.stage("Pusher") as stage:
            pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
            serving = Path(pushed.uri)
            files.copy_tree(Path(self.GetModelPath(input_dict)), serving)
            data_verdict = _read_json(input_dict["verdict"], "data_verdict.json")
            verdict = _read_json(input_dict["evaluation"], "model_verdict.json")
            examples = warmup.first_examples(artifact_utils.get_split_uri(input_dict["examples"], "eval"))
            warmup.write(serving, examples)

            blessed = self.CheckBlessing(input_dict)
            # A person's word on the data stands beside the gate's on the model, wherever reasons are shown.
            reasons = [*verdict["reasons"], *filter(None, [data_verdict.get("unquarantined")])]
            if blessed:
                try:
                    infra_validation.probe(serving, examples, task=exec_properties["task"])
                except GateError as error:
                    blessed = False
                    reasons.append(f"the model did not answer in a fresh process: {error.what}")

            registry = Registry(Path(exec_properties["home"]))
            champion = present(input_dict.get("champion"))
            raw = input_dict["examples"][0]
            transform = input_dict["transform_graph"][0]
            span_versions = json.loads(raw.get_string_custom_property("span_versions") or "{}")
            model = Path(input_dict["model"][0].uri)
            # A run_fn of the user's own leaves a SavedModel, and need not leave more.
            beside = {name: model / name for name in ("checkpoint", "carry.json") if (model / name).exists()}
            version = registry.register(
                {
                    "serving": serving,
                    **beside,
                    "transform_graph": Path(transform.uri),
                    "statistics": Path(input_dict["statistics"][0].uri) / "Split-train",
                    "schema": Path(input_dict["schema"][0].uri),
                    "evaluation": Path(input_dict["evaluation"][0].uri),
                },
                blessed=blessed,
                run_id=exec_properties["run_id"],
                mode=raw.get_string_custom_property("mode"),
                parent=champion.get_int_custom_property("version") if champion else None,
                span=raw.span,
                span_version=span_versions.get(str(raw.span)),
                spans=json.loads(raw.get_string_custom_property("spans")),
                metrics=verdict["metrics"],
                verdict={"model": verdict, "data": data_verdict},
                reasons=reasons,
                transform=transform.get_string_custom_property("transform"),
                transform_digest=files.tree_digest(Path(transform.uri)),
                code_digest=exec_properties["code_digest"],
                rows=json.loads(raw.get_string_custom_property("rows")),
            )
            pushed.set_int_custom_property("version", version.version)
            model_root = Path(exec_properties["model_root"])
            # A task that is tried again may find that a later version has taken over from its own: nothing to do.
            if blessed and version.state in (REGISTERED, PUBLISHED):
                version = Publication(registry, model_root).publish(version.version)
            if version.state == PUBLISHED:
                self._MarkPushed(
                    pushed, pushed_destination=str(version.model_dir), pushed_version=str(version.version)
                )
            else:
                self._MarkNotPushed(pushed)
            registry.record_run(run_of(version))
            retain(registry, exec_properties["keep"], model_root)
            stage.note(
                version=version.version,
                state=version.state,
                reasons=list(version.reasons),
                withheld=version.withheld,
            )


def _read_json(artifacts: list[types.Artifact], name: str) -> dict[str, Any]:
    path = Path(artifact_utils.get_single_instance(artifacts).uri) / name
    return json.loads(path.read_text(encoding="utf-8"))

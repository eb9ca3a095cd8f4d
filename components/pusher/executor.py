"""Validates, registers, publishes, records the run. In this order a kill leaves no version half published."""

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.types import artifact_utils

from noria.components import journal, warmup_requests
from noria.components.artifacts import present
from noria.components.infra_validation import validator
from noria.components.internals.tfx import PusherExecutor
from noria.core import files
from noria.core.errors import GateError
from noria.stores.publication import Publication
from noria.stores.recovery import retain
from noria.stores.registry import Registry, run_of
from noria.stores.versions import PUBLISHED, REGISTERED, TWIN


class Executor(PusherExecutor):
    """TFX's Pusher with another `Do`; the check of the blessing and the model's path are TFX's."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Makes the challenger a version of the registry, and publishes it if it is blessed and passes infra
        validation.

        Where the project rolls versions out, one that is blessed becomes the candidate of a rollout instead, beside the
        champion. A challenger that is not blessed is registered as rejected, with its verdict and its files, so that
        `noria promote --force` can promote it. A blessed one that fails infra validation is rejected too, with the
        reason. A cold twin that passes infra validation is registered as the fallback, whatever the verdict, and is not
        published. If another version has become champion since the verdict, the challenger remains registered, with the
        reason, and its span waits for another run.
        """
        with journal.stage("Pusher") as stage:
            pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
            serving = Path(pushed.uri)
            files.copy_tree(Path(self.model_path(input_dict)), serving)
            data_verdict = _read_json(input_dict["verdict"], "data_verdict.json")
            verdict = _read_json(input_dict["evaluation"], "model_verdict.json")
            examples = warmup_requests.first_examples(
                artifact_utils.get_split_uri(input_dict["examples"], "eval")
            )
            warmup_requests.write(serving, examples)

            raw = input_dict["examples"][0]
            mode = raw.get_string_custom_property("mode")
            blessed = self.blessed(input_dict) or mode == TWIN
            # If a person has taken the span out of quarantine, that is a reason, too.
            reasons = [*verdict["reasons"], *filter(None, [data_verdict.get("unquarantined")])]
            if blessed:
                try:
                    passed = validator.validate(serving, examples, task=exec_properties["task"])
                    width = len(passed.values) // len(examples)
                    places = range(0, len(passed.values), width)
                    scores = [passed.values[start : start + width] for start in places]
                    warmup_requests.write(serving, examples, scores=scores)
                except GateError as error:
                    blessed = False
                    reasons.append(f"infra validation failed: {error.what}")

            registry = Registry(Path(exec_properties["home"]))
            champion = present(input_dict.get("champion"))
            transform = input_dict["transform_graph"][0]
            span_versions = json.loads(raw.get_string_custom_property("span_versions") or "{}")
            model = Path(input_dict["model"][0].uri)
            # A user's own run_fn must write a SavedModel, and may write nothing else.
            beside = {
                name: model / name for name in ("checkpoint", "warm_start.json") if (model / name).exists()
            }
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
                twin=mode == TWIN,
                run_id=exec_properties["run_id"],
                mode=mode,
                parent=champion.get_int_custom_property("version") if champion else None,
                span=raw.span,
                span_version=span_versions.get(str(raw.span)),
                spans=json.loads(raw.get_string_custom_property("spans")),
                metrics=verdict["metrics"],
                verdict={"model": verdict, "data": data_verdict},
                reasons=reasons,
                transform=transform.get_string_custom_property("transform"),
                code_digest=exec_properties["code_digest"],
                rows=json.loads(raw.get_string_custom_property("rows")),
            )
            pushed.set_int_custom_property("version", version.version)
            model_root = Path(exec_properties["model_root"])
            key = Path(exec_properties["signing_key"]) if exec_properties.get("signing_key") else None
            publication = Publication(registry, model_root, key)
            # A repeated task may find that a later version has replaced its own: then there is nothing to do.
            if blessed and version.state in (REGISTERED, PUBLISHED):
                serves = registry.champion()
                # Only beside the champion that it was judged against; otherwise `publish` withholds it.
                judged = serves is not None and serves.version == version.parent
                if exec_properties["rollout"] and version.state == REGISTERED and judged:
                    version = publication.stage(version.version)
                else:
                    version = publication.publish(version.version)
            if version.state == PUBLISHED:
                self.mark_pushed(pushed, str(version.model_dir), version.version)
            else:
                self.mark_not_pushed(pushed)
            registry.record_run(run_of(version))
            publication.follow_twin()
            retain(registry, exec_properties["keep"], model_root)
            stage.note(
                version=version.version,
                state=version.state,
                reasons=list(version.reasons),
                withheld=version.withheld,
                staged=version.version in registry.state().staged,
            )


def _read_json(artifacts: list[types.Artifact], name: str) -> dict[str, Any]:
    path = Path(artifact_utils.get_single_instance(artifacts).uri) / name
    return json.loads(path.read_text(encoding="utf-8"))

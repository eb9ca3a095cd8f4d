"""Copies the champion's payload into the output artifact, or sets the state `absent`."""

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.components.artifacts import TWIN, VERSION
from noria.core import files
from noria.stores import twin
from noria.stores.recovery import recover
from noria.stores.registry import Registry, Version

# Payload folder in the registry -> folder in the artifact, which follows TFX's layout of a Model.
LAYOUT = {
    "serving": "Format-Serving",
    "checkpoint": "checkpoint",
    "transform_graph": "transform_graph",
    "statistics": "statistics",
    "schema": "schema",
}


class Executor(base_executor.BaseExecutor):
    """Reads the registry only."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the champion into `output_dict["champion"][0]`.

        The artifact's custom properties are `state` (`present` or `absent`) and `version` (0 if absent). An artifact is
        written in both cases, because Kubeflow passes exactly one artifact per channel. The files are copied, with hard
        links if possible, because Kubeflow's tasks cannot read artifacts outside the pipeline root. Where there is a
        cold twin, it is in the folder `twin`, in the same layout.
        """
        artifact = output_dict["champion"][0]
        with journal.stage("ChampionResolver") as stage:
            registry = Registry(Path(exec_properties["home"]))
            key = Path(exec_properties["signing_key"]) if exec_properties.get("signing_key") else None
            for line in recover(registry, exec_properties["model_root"], key):
                stage.note(recovered=line)
            champion = registry.champion()
            folder = Path(artifact.uri)
            folder.mkdir(parents=True, exist_ok=True)
            if champion is None:
                artifact.set_string_custom_property("state", "absent")
                artifact.set_int_custom_property("version", 0)
                stage.note(champion="absent")
                return
            _copy(champion, folder)
            state = registry.state()
            record = twin.record(state)
            if state.twin is not None and record is not None:
                _copy(state.twin, folder / TWIN, leads=record.leads)
                stage.note(twin=record.to_json())
            artifact.set_string_custom_property("state", "present")
            artifact.set_int_custom_property("version", champion.version)
            stage.note(champion=champion.version)


def _copy(version: Version, folder: Path, **facts: Any) -> None:
    for source, target in LAYOUT.items():
        if (version.payload_path / source).exists():
            files.copy_tree(version.payload_path / source, folder / target)
    report = version.payload_path / "warm_start.json"  # another run_fn makes none
    since = json.loads(report.read_text(encoding="utf-8")).get("since") if report.exists() else None
    described = {"version": version.version, "spans": version.spans, "span": version.span, "since": since}
    (folder / VERSION).write_text(json.dumps(described | facts), encoding="utf-8")

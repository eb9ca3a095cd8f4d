"""Ends a run, from its input artifacts and the journal that the tasks left on the volume."""

import shutil
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.pipeline.runners.kubeflow import container_project, tasklog
from noria.pipeline.runs.recorder import RunRecorder

# Which node made an input; the report knows artifacts by their maker.
MAKERS = {
    "champion": "ChampionResolver",
    "statistics": "StatisticsGen",
    "verdict": "DataGate",
    "model": "Trainer",
    "evaluation": "Evaluator",
}


class Executor(base_executor.BaseExecutor):
    """Wires artifacts to `RunRecorder`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `<home>/reports/`, `<home>/runs/<run_id>/run.json`, and the page into the output artifact.

        Raises:
          RegistryError: the registry has no such run.
        """
        config = container_project.from_json(exec_properties["config"])
        run_id = exec_properties["run_id"]
        with journal.stage("Report") as stage:
            paths = {
                MAKERS[name]: {name: artifacts[0].uri}
                for name, artifacts in input_dict.items()
                if name in MAKERS
            }
            records = tasklog.read(config.home_path, run_id)
            closed = RunRecorder(config.home_path, config.name, run_id).close(records, paths)
            folder = Path(output_dict["report"][0].uri)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(closed.report), folder / "report.html")
            stage.note(report=closed.report)

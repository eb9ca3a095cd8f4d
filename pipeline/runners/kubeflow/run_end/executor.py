"""Says how a run ended, from the registry and the journal on the volume, tells a webhook, and retires old spans."""

import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.core.errors import DataError, NoriaError
from noria.pipeline.config.kubeflow import Notify
from noria.pipeline.runners.kubeflow import container_project, tasklog
from noria.pipeline.runners.kubeflow.run_end import cloud_event
from noria.pipeline.runs.recorder import RunRecorder
from noria.pipeline.runs.run import retire_old_spans
from noria.stores.registry import Registry

NOTHING, FAILED = "nothing", "failed"
LOCK_SECONDS = 60  # for whoever holds the home; a later run retires what this one could not


class Executor(base_executor.BaseExecutor):
    """The last task of each run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the page of a run that failed without one (a container that was killed cannot), and notifies.

        After any other run it deletes what `data.keep_spans` no longer keeps. The run has ended by then, so an error
        in this or in the notification is a note.
        """
        config = container_project.from_json(exec_properties["config"])
        run_id, notify = exec_properties["run_id"], exec_properties.get("notify") or ""
        with journal.stage("End") as stage:
            end = outcome(config.home_path, run_id)
            if end["outcome"] == FAILED and end["span"] is not None:
                records = tasklog.read(config.home_path, run_id)
                recorder = RunRecorder(config.home_path, config.name, run_id)
                end["report"] = str(recorder.fail(end["span"], DataError(end["reason"]), records, {}))
            stage.note(**end)
            if notify and end["outcome"] != NOTHING:
                try:
                    cloud_event.send(Notify.model_validate_json(notify), config.name, run_id, end)
                except NoriaError as error:
                    stage.note(not_notified=str(error))
            if end["outcome"] != FAILED:

                def tell(record: dict[str, Any]) -> None:
                    stage.note(retired=record["spans"], retired_rows=record["rows"])

                try:
                    retire_old_spans(config, tell, actor="Kubeflow's End", wait=LOCK_SECONDS)
                except NoriaError as error:
                    stage.note(not_retired=str(error))


def outcome(home: Path, run_id: str) -> dict[str, Any]:
    """How a run ended.

    Returns:
      `outcome`: blessed, rejected, twin, broken or thin, as the registry says; `nothing` where no span waited; else
      `failed`. `span`: its span or None; `reason`; `alarms`; `report`: path of its page or None.
    """
    run = next((each for each in Registry(home).runs() if each.run_id == run_id), None)
    if run is not None:
        ended = run.data_verdict if run.data_verdict in ("broken", "thin") else run.model_verdict
        page = home / "runs" / run_id / "run.json"
        report = json.loads(page.read_text(encoding="utf-8")).get("report") if page.is_file() else None
        reason = "; ".join(run.reasons)
        return {
            "outcome": ended,
            "span": run.span,
            "reason": reason,
            "alarms": list(run.alarms),
            "report": report,
        }
    records = tasklog.read(home, run_id)
    end: dict[str, Any] = {"span": tasklog.span(records), "alarms": [], "report": None}
    if any(record.get("state") == NOTHING for record in records):
        return {"outcome": NOTHING, "reason": "no span waits", **end}
    return {"outcome": FAILED, "reason": _reason(records), **end}


def _reason(records: list[dict[str, Any]]) -> str:
    """The first error; where there is none, the stage that began and never ended: its container was killed."""
    for record in records:
        if record["event"] == "failed":
            return f"{record['stage']}: {record['error']}"
    ended = {record["stage"] for record in records if record["event"] == "end"}
    begun = [record["stage"] for record in records if record["event"] == "start"]
    open_ones = [stage for stage in begun if stage not in ended and stage != "End"]
    if open_ones:
        return f"{open_ones[-1]}: its container ended without a message (killed, or out of memory)"
    return "a task did not start; see the run's page in Kubeflow's web interface"

"""The pipeline's graph for Kubeflow: the nodes of `noria.pipeline.dag`, ingestion before them, the report after them.

`noria run` ingests, picks the span and writes the report around the DAG, in one process. A Kubeflow run has
nothing around it, so these are nodes there. Where no span waits, a condition skips everything else,
and the run succeeds. A run that raised an alarm ends with `ReportAlarm`, one on a broken span with `ReportBroken`: the
name of a task that succeeded is all that Kubeflow's API tells of a run. `End` is the exit handler.
"""

from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.experimental.conditionals import conditional

from noria.pipeline import dag
from noria.pipeline.config import Config
from noria.pipeline.runners.kubeflow import container_project, exit_handler, pusher
from noria.pipeline.runners.kubeflow.ingest.component import Ingest
from noria.pipeline.runners.kubeflow.run_end.component import RunEnd
from noria.pipeline.runners.kubeflow.run_report.component import RunReport
from noria.pipeline.runners.kubeflow.workers import executor as workers

# The backend's own placeholder: the id of the run, another one in each run of a compiled pipeline.
RUN_ID = "{{$.pipeline_job_uuid}}"


def components(config: Config, *, source_digest: str, cold: bool = False) -> list[BaseNode]:
    """The nodes of one Kubeflow run: ingest, one run on the oldest span that waits, its report.

    Args:
      config: the project's settings, with the paths of this machine.
      source_digest: digest of the project's sources; the image must hold the same.
      cold: train from nothing, once more on the newest span where none waits.
    """
    in_container = container_project.in_container(config)
    settings = container_project.to_json(config)
    ingest = Ingest(config=settings, run_id=RUN_ID, source_digest=source_digest, again=cold)
    with conditional.Cond(ingest.outputs["ingested"].future()[0].custom_property("state") == "waiting"):
        stages = dag.components(
            in_container,
            span="again" if cold else "next",
            mode="cold" if cold else "auto",
            run_id=RUN_ID,
            code_digest=settings,  # pusher.Executor computes the digest from it and from the image's sources
        )
        nodes = {node.id: node for node in stages}
        nodes["Pusher"].executor_spec = executor_spec.ExecutorClassSpec(pusher.Executor)
        if config.kubeflow.workers:
            nodes["Trainer"].executor_spec = executor_spec.ExecutorClassSpec(workers.Executor)
        verdict = nodes["DataGate"].outputs["verdict"]
        inputs = {
            "champion": nodes["ChampionResolver"].outputs["champion"],
            "statistics": nodes["StatisticsGen"].outputs["statistics"],
            "verdict": verdict,
        }
        trained = {
            "model": nodes["Trainer"].outputs["model"],
            "evaluation": nodes["Evaluator"].outputs["evaluation"],
        }
        alarm = nodes["Evaluator"].outputs["blessing"].future()[0].custom_property("alarm")
        with conditional.Cond(verdict.future()[0].custom_property("verdict") != "broken"):
            with conditional.Cond(alarm == "no"):
                report = RunReport(config=settings, run_id=RUN_ID, **inputs, **trained).with_id("Report")
            with conditional.Cond(alarm == "yes"):
                ringing = RunReport(config=settings, run_id=RUN_ID, **inputs, **trained).with_id(
                    "ReportAlarm"
                )
        with conditional.Cond(verdict.future()[0].custom_property("verdict") == "broken"):
            broken = RunReport(config=settings, run_id=RUN_ID, **inputs).with_id("ReportBroken")
    for node in (report, ringing):
        node.add_upstream_node(nodes["Pusher"])  # it records the run
    notify = config.kubeflow.notify
    end = RunEnd(
        config=settings, run_id=RUN_ID, notify="" if notify is None else notify.model_dump_json()
    ).with_id(exit_handler.END)
    for node in stages:
        if hasattr(node, "with_beam_pipeline_args"):
            node.with_beam_pipeline_args(config.beam.per_component.get(node.id, config.beam.args))
    return [ingest, *stages, report, ringing, broken, end]

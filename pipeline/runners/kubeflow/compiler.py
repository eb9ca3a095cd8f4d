"""Compiles a project for open-source Kubeflow Pipelines 2.x: one YAML file, two documents.

The first is the pipeline (schema 2.1.0) as TFX's KubeflowV2DagRunner writes it, the second the platform
document of `kfp-kubernetes`: volume, secrets, node selectors, how the image is pulled. What that runner does not
support per task (resources from a config, retries) is added to its result.
"""

import logging
from pathlib import Path
from typing import Any

import yaml

from noria.core import files
from noria.core.errors import ConfigError
from noria.pipeline.config import Config
from noria.pipeline.runners.kubeflow import checks, compiled_tasks, exit_handler, pod_checks, ui
from noria.pipeline.runners.kubeflow.workers import train_job
from noria.pipeline.runs import lineage

UNSET_ROOT = "minio://unset"  # TFX refuses to compile without a root; it is taken out of the result
ENTRYPOINT = "noria.pipeline.runners.kubeflow.entrypoint"


def compile_package(config: Config, output: Path, cold: bool = False) -> Path:
    """Writes the package that `kfp.Client` uploads and submits.

    Args:
      config: the project's settings.
      output: the YAML file; written whole or not at all.
      cold: its runs train from scratch, on the newest span if none waits.

    Returns:
      The file, absolute.

    Raises:
      LaneError: kfp is not installed, or does not support this Python.
      ConfigError: something that would fail on the cluster later.
    """
    output = Path(output).absolute()
    checks.check_installed("kfp.kubernetes")
    checks.check_platform(config)
    checks.check_config(config)
    pod_checks.check(config)
    checks.check_output(output)
    spec = pipeline_spec(config, cold)
    documents = [
        spec,
        compiled_tasks.platform_spec(config.kubeflow, list(spec["deploymentSpec"]["executors"])),
    ]
    text = yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True)
    with files.explained("the package cannot be written", output, ConfigError):
        output.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(output, text)
    return output


def pipeline_spec(config: Config, cold: bool = False) -> dict[str, Any]:
    """The pipeline document, as a dictionary.

    Raises:
      ConfigError: a node that the cluster would refuse, or code that cannot be found.
    """
    from noria.core.user_code import add_project

    add_project(str(config.folder))
    from noria.components.keras3 import ensure_keras3

    ensure_keras3()
    from tfx.orchestration import pipeline
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner

    from noria.pipeline.runners.kubeflow import graph

    section = config.kubeflow
    nodes = graph.components(config, source_digest=lineage.source_digest(config), cold=cold)
    checks.check_nodes(nodes)
    logging.getLogger().setLevel(logging.WARNING)  # TFX logs each node that it compiles
    whole = pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=section.pipeline_root or UNSET_ROOT,
        components=nodes,
        enable_cache=False,  # the backend's cache key ignores the stores and the image's code
    )
    _forget_keys(whole)
    command = ["python", "-m", ENTRYPOINT, "--home", config.cluster_home, "--project", section.project]
    job = runner.KubeflowV2DagRunner(
        config=runner.KubeflowV2DagRunnerConfig(
            default_image=section.image, default_commands=command, use_pipeline_spec_2_1=True
        ),
    ).run(whole, write_out=False)
    spec = job["pipelineSpec"]
    spec.pop("defaultPipelineRoot", None)
    if section.pipeline_root is not None:
        spec["defaultPipelineRoot"] = section.pipeline_root
    compiled_tasks.apply(spec, section)
    train_job.declare(spec, section, config.cluster_home)
    ui.declare(spec, spec["root"]["dag"]["tasks"], config.task)
    exit_handler.wrap(spec)
    return spec


def _forget_keys(pipeline: Any) -> None:
    """Makes each node name the channels of its conditions.

    TFX stores a key in a condition's channel and uses it for the first node that it compiles;
    where that node has the channel among its inputs, under another name, the backend finds no such input.
    """
    from tfx.dsl.experimental.conditionals import conditional
    from tfx.types.channel import ChannelWrappedPlaceholder

    for node in pipeline.components:
        for predicate in conditional.get_predicates(node, pipeline.dsl_context_registry):
            for part in predicate.traverse():
                if isinstance(part, ChannelWrappedPlaceholder):
                    part.set_key(None)

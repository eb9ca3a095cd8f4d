"""Trainer's executor on Kubeflow with several workers: it trains in the pods of a TrainJob."""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor

from noria.components import journal
from noria.core.errors import ClusterError
from noria.pipeline.runners.kubeflow import container_project
from noria.pipeline.runners.kubeflow.workers import exchange, train_job


class Executor(base_executor.BaseExecutor):
    """The same as the Trainer's, elsewhere."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains as `noria.components.trainer.executor` does.

        Raises:
          ClusterError: the TrainJob is refused, or failed.
        """
        job = train_job.named(json.loads(os.environ[train_job.VARIABLE]))
        arguments = job["spec"]["trainer"]["args"]
        home = container_project.open_home(arguments[arguments.index("--home") + 1])
        name = job["metadata"]["name"]
        with journal.stage("Trainer") as stage:
            exchange.ask(home, name, input_dict, output_dict, exec_properties)
            stage.note(train_job=name, workers=job["spec"]["trainer"]["numNodes"])
            failed = train_job.run(job)
            notes = None if failed else exchange.collect(home, name, output_dict)
            if notes is None:
                reasons = [*exchange.failures(home, name), failed or "no worker has left a model"]
                raise ClusterError(
                    "; ".join(reasons),
                    where=f"TrainJob {name}",
                    next_step=f"kubectl logs -l jobset.sigs.k8s.io/jobset-name={name} --prefix --tail=-1",
                )
            exchange.forget(home, name)
            stage.note(**notes)

"""RunEnd: the exit handler. Kubeflow runs it after all other tasks, also after failed ones."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec

from noria.pipeline.runners.kubeflow.run_end import executor


class RunEndSpec(component_spec.ComponentSpec):
    """No inputs: after a failure there are none."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "run_id": component_spec.ExecutionParameter(type=str),
        "notify": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {}


class RunEnd(base_component.BaseComponent):
    """Ends a run that failed, and tells a webhook.

    Args:
      config: the settings, as `noria.pipeline.runners.kubeflow.container_project.to_json` writes them.
      run_id: names the run.
      notify: `kubeflow.notify` as JSON; '' for no notification.
    """

    SPEC_CLASS = RunEndSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, config: str, run_id: str, notify: str = ""):
        super().__init__(RunEndSpec(config=config, run_id=run_id, notify=notify))

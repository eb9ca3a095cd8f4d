"""The base of executors that may work on Beam: the config's Beam arguments reach Beam as they are written.

TFX's own base class adds a package of TFX's sources, built anew for each component (seconds each time), and
labels for Google's Dataflow. The package would not do: a worker needs TensorFlow, TFX and Noria, so that they
are installed there, or come with the arguments (`--sdk_container_image`, `--requirements_file`, `--setup_file`).
"""

from tfx.dsl.components.base import base_beam_executor


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """`_make_beam_pipeline` starts a pipeline with the component's arguments and nothing else."""

    def __init__(self, context: base_beam_executor.BaseBeamExecutor.Context | None = None):
        arguments = list(context.beam_pipeline_args or []) if context is not None else []
        if context is not None:
            context.beam_pipeline_args = None  # TFX adds nothing where there is nothing
        super().__init__(context)
        self._beam_pipeline_args = arguments

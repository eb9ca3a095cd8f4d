"""TFX's base of executors that use Beam, with the config's Beam arguments as they are written.

TFX's own class adds a package of TFX's sources, which it builds for each component in seconds, and labels for Google's
Dataflow. A worker needs more than this package: TensorFlow, TFX and Noria. They are installed in the worker, or the
arguments name them (`--sdk_container_image`, `--requirements_file`, `--setup_file`).
"""

import apache_beam as beam
from tfx.dsl.components.base import base_beam_executor


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """An executor with a Beam pipeline.

    Attributes:
      beam_args: the component's Beam arguments.
    """

    def __init__(self, context: base_beam_executor.BaseBeamExecutor.Context | None = None):
        self.beam_args = list(context.beam_pipeline_args or []) if context is not None else []
        if context is not None:
            context.beam_pipeline_args = None  # TFX adds nothing to an empty list
        super().__init__(context)
        self._beam_pipeline_args = self.beam_args

    def beam_pipeline(self) -> beam.Pipeline:
        """Starts a pipeline with the component's arguments and nothing else."""
        return self._make_beam_pipeline()

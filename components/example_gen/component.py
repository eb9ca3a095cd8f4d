"""SpanExampleGen: picks the spans itself, and writes their rows as tf.Examples."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from noria.components.example_gen import executor


class SpanExampleGenSpec(component_spec.ComponentSpec):
    """With a champion the run is warm, without one cold; each has another window."""

    PARAMETERS = {
        "home": component_spec.ExecutionParameter(type=str),
        "run_id": component_spec.ExecutionParameter(type=str),
        "span": component_spec.ExecutionParameter(type=str),
        "mode": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str),
        "window": component_spec.ExecutionParameter(type=str),
        "execution": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"champion": component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class SpanExampleGen(base_beam_component.BaseBeamComponent):
    """Writes the window of one run as Examples with the splits `train` and `eval`.

    Args:
      champion: ChampionResolver's output; a run is warm if there is one.
      home: the project's home folder, which holds the span store.
      run_id: id of the run; a span with too few rows ends it here, and the registry records it.
      span: id of the newest span of the window, or `newest`; `next`: the oldest that
        waits for a run, or the newest for a twin that is due; `again`: the same, or the newest if none waits.
      mode: `auto`, `cold` to train from scratch although there is a champion, or `twin`: the same for the fallback.
      label: name of the label column; rows without a label are counted and not written.
      window: JSON object, see `noria.components.example_gen.window.Window`.
      execution: `auto`, `in-process` or `beam`.
    """

    SPEC_CLASS = SpanExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        champion: channel.BaseChannel,
        home: str,
        run_id: str,
        span: str,
        mode: str,
        label: str,
        window: str,
        execution: str = "auto",
    ):
        super().__init__(
            SpanExampleGenSpec(
                champion=champion,
                home=home,
                run_id=run_id,
                span=span,
                mode=mode,
                label=label,
                window=window,
                execution=execution,
                examples=channel_utils.as_channel([standard_artifacts.Examples()]),
            )
        )

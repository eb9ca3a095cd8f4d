"""From the gate's settings to TFMA's EvalConfig."""

import json

from google.protobuf import wrappers_pb2
from tensorflow_model_analysis.proto import config_pb2

from noria.components.evaluator.gate import Gate
from noria.components.evaluator.metrics.base import Metric
from noria.components.evaluator.settings import Bound

CHALLENGER = "candidate"  # TFMA's names for the two models
CHAMPION = "baseline"
PAIRED = "loss_change"


def build(gate: Gate, label: str, has_champion: bool) -> config_pb2.EvalConfig:
    """Builds the EvalConfig that both the in-process path and Beam evaluate.

    Thresholds are tied to the slice of all rows: a threshold without a slice counts for every slice in TFMA,
    and a slice of nine rows would reject a good model. Slices have their own rule, see `model_verdict`.

    Args:
      gate: the settings.
      label: name of the label's feature in the raw examples.
      has_champion: False leaves the baseline and all change thresholds out.
    """
    models = [CHALLENGER, CHAMPION] if has_champion else [CHALLENGER]
    config = config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                name=name,
                # TFMA would otherwise try to load a Keras model first, and take seconds to fail.
                model_type="tf_generic",
                signature_name="serving_default",
                prediction_key="score",
                label_key=label,
                is_baseline=name == CHAMPION,
            )
            for name in models
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=list(slicing)) for slicing in gate.slices),
        ],
        options=config_pb2.Options(include_default_metrics=wrappers_pb2.BoolValue(value=False)),
    )
    spec = config.metrics_specs.add()
    for name, metric in gate.metrics.items():
        added = spec.metrics.add(**_class(name, metric, gate))
        threshold = _threshold(gate.bounds.get(name), metric, has_champion)
        if threshold is not None:
            added.per_slice_thresholds.add(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
    if has_champion:
        spec.metrics.add(
            class_name="PairedLossChange",
            module="noria.components.evaluator.paired",
            config=json.dumps({"name": PAIRED, "task": gate.task}, sort_keys=True),
        )
    return config


def _class(name: str, metric: Metric, gate: Gate) -> dict[str, str]:
    """TFMA's or Keras's class of a metric; where there is none, the one that computes the metric from all rows."""
    if gate.task in metric.tfma:
        class_name, arguments = metric.tfma[gate.task]
        return {"class_name": class_name, "config": json.dumps({"name": name} | arguments, sort_keys=True)}
    arguments = {"name": name, "task": gate.task, "project": gate.project}
    return {
        "class_name": "RowsMetric",
        "module": "noria.components.evaluator.rows_metric",
        "config": json.dumps(arguments, sort_keys=True),
    }


def _threshold(bound: Bound | None, metric: Metric, has_champion: bool) -> config_pb2.MetricThreshold | None:
    if bound is None:
        return None
    threshold = config_pb2.MetricThreshold()
    if bound.min is not None:
        threshold.value_threshold.lower_bound.value = bound.min
    if bound.max is not None:
        threshold.value_threshold.upper_bound.value = bound.max
    if has_champion and (bound.change is not None or bound.relative is not None):
        change = threshold.change_threshold
        sign = -1.0 if metric.better == "higher" else 1.0
        better = "HIGHER_IS_BETTER" if metric.better == "higher" else "LOWER_IS_BETTER"
        change.direction = config_pb2.MetricDirection.Value(better)
        if bound.change is not None:
            change.absolute.value = sign * bound.change
        if bound.relative is not None:
            change.relative.value = sign * bound.relative
    return threshold if threshold.ByteSize() else None

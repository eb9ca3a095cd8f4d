"""The gate's metrics, by name. One more is one more file here, or a class of the user's by import path."""

from noria.components.evaluator.metrics.base import Metric
from noria.core.seams import Seam

METRICS = Seam(Metric, "noria.components.evaluator.metrics", "gates.model.metrics")

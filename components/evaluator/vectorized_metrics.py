"""Fills the accumulators of TFMA's own combiners with all rows of a slice at once, in place of row by row.

One function for each kind of combiner; they are found by the class's name. What is not here goes row by row
through `add_input`, which is TFMA's own code and therefore right, only slower. The equality test runs both
beside Beam.
"""

import collections.abc
import inspect
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_analysis.contrib.aggregates import binary_confusion_matrices as aggregates
from tensorflow_model_analysis.metrics import binary_confusion_matrices as matrices
from tensorflow_model_analysis.metrics import calibration_histogram as histograms
from tensorflow_model_analysis.metrics import metric_util

from noria.components.evaluator.rows import EvalRows

# TFMA's `binary_confusion_matrices._EPSILON`, by which it moves thresholds off the buckets' edges.
_EPSILON = matrices._EPSILON


class NotVectorised(Exception):
    """This combiner, or these rows, need the row-by-row way."""


class Fill:
    """Everything about all rows that slices share is computed here once.

    Args:
      combiner: TFMA's.
      rows: all rows.
    """

    def __init__(self, combiner: Any, rows: EvalRows):
        self.combiner = combiner
        self.rows = rows

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        """The combiner's output for the rows at `index`."""
        raise NotImplementedError


class ExampleCount(Fill):
    """Counts rows."""

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        if self.combiner._example_weighted:
            raise NotVectorised
        return self.combiner.extract_output(float(len(index)))


class Sums(Fill):
    """Sums of labels, predictions and rows, for calibration and the label's mean."""

    def __init__(self, combiner: Any, rows: EvalRows):
        super().__init__(combiner, rows)
        self._predictions = _plain_scores(combiner, rows, combiner._key)
        self._labels = rows.labels.astype(np.float64)

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        accumulator = self.combiner.create_accumulator()
        accumulator.total_weighted_labels = float(self._labels[index].sum())
        accumulator.total_weighted_predictions = float(self._predictions[index].sum())
        accumulator.total_weighted_examples = float(len(index))
        return self.combiner.extract_output(accumulator)


class Histogram(Fill):
    """The histogram of predictions from which TFMA derives AUC."""

    def __init__(self, combiner: Any, rows: EvalRows):
        super().__init__(combiner, rows)
        self._predictions = _plain_scores(combiner, rows, combiner._key)
        if not combiner._prediction_based_bucketing or not np.isin(rows.labels, (0, 1)).all():
            raise NotVectorised
        self._buckets = combiner._num_buckets
        position = (self._predictions - combiner._left) / combiner._range * self._buckets + 1
        last = self._buckets + 1
        self._bucket = np.where(position < 0, 0, np.minimum(position, last)).astype(np.int64)
        self._labels = rows.labels.astype(np.float64)

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        bucket, size = self._bucket[index], self._buckets + 2
        examples = np.bincount(bucket, minlength=size).astype(np.float64)
        labels = np.bincount(bucket, weights=self._labels[index], minlength=size)
        predictions = np.bincount(bucket, weights=self._predictions[index], minlength=size)
        ids = np.flatnonzero(examples)
        return {self.combiner._key: Buckets(ids, labels[ids], predictions[ids], examples[ids])}


class Buckets(collections.abc.Sequence):
    """A histogram as `extract_output` gives it, kept as arrays until somebody looks at a bucket.

    Args:
      ids: `[b]` of the buckets that hold rows, ascending.
      labels: `[b]` sum of labels.
      predictions: `[b]` sum of predictions.
      examples: `[b]` rows.
    """

    def __init__(self, ids: np.ndarray, labels: np.ndarray, predictions: np.ndarray, examples: np.ndarray):
        self.ids = ids
        self.labels = labels
        self.predictions = predictions
        self.examples = examples

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        sums = (float(part[at]) for part in (self.labels, self.predictions, self.examples))
        return histograms.Bucket(int(self.ids[at]), *sums)


class ConfusionMatrix(Fill):
    """Counts at single thresholds, for precision, recall and accuracy."""

    def __init__(self, combiner: Any, rows: EvalRows):
        super().__init__(combiner, rows)
        self._predictions = _plain_scores(combiner, rows, combiner._key)
        if combiner._example_id_key or not np.isin(rows.labels, (0, 1)).all():
            raise NotVectorised
        if (
            combiner._extract_label_prediction_and_weight
            is not metric_util.to_label_prediction_example_weight
        ):
            raise NotVectorised
        self._positive = rows.labels == 1

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        predictions, positive = self._predictions[index], self._positive[index]
        accumulator = self.combiner.create_accumulator()
        for threshold in self.combiner._binary_confusion_matrices._thresholds:
            above = predictions > threshold
            counts = (above & positive, ~above & ~positive, above & ~positive, ~above & positive)
            matrix = aggregates.Matrix(*(float(part.sum()) for part in counts))
            accumulator[threshold] = aggregates._ThresholdEntry(matrix, [], [], [], [])
        return self.combiner.extract_output(accumulator)


class KerasMetrics(Fill):
    """Keras's metrics, by `update_state` on the whole slice."""

    def __init__(self, combiner: Any, rows: EvalRows):
        super().__init__(combiner, rows)
        if (
            combiner._output_names != [""]
            or combiner._sub_key_in_config
            or combiner._sub_key is not None
            or combiner._aggregation_type is not None
            or combiner._class_weights
            or combiner._example_weighted
        ):
            raise NotVectorised
        combiner.setup()
        self._predictions = _scores(rows, combiner._model_name)
        self._labels = rows.labels[:, np.newaxis]

    # Keras would have AutoGraph rewrite `update_state`, 1.4 s at the first call, and eager arrays don't need it.
    @tf.autograph.experimental.do_not_convert
    def output(self, index: np.ndarray) -> dict[Any, Any]:
        accumulator = self.combiner.create_accumulator()
        weights = np.ones((len(index), 1), np.float32)
        for at, metric in enumerate(self.combiner._metrics[""]):
            metric.reset_states()
            metric.update_state(self._labels[index], self._predictions[index], weights)
            accumulator.add_weights(0, at, metric.get_weights())
        return self.combiner.extract_output(accumulator)


class RegressionErrors(Fill):
    """Sums of TFMA's squared and absolute errors."""

    _ERRORS = {
        "_MeanSquaredErrorCombiner": np.square,
        "_MeanAbsoluteErrorCombiner": np.absolute,
    }

    def __init__(self, combiner: Any, rows: EvalRows):
        super().__init__(combiner, rows)
        difference = rows.labels - _plain_scores(combiner, rows, combiner._metric_key).astype(np.float32)
        self._errors = self._ERRORS[type(combiner).__name__](difference.astype(np.float64))

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        errors = self._errors[index]
        counted = errors[~np.isnan(errors)]
        accumulator = self.combiner.create_accumulator()
        accumulator.total_regression_error = float(counted.sum())
        accumulator.total_example_weights = float(len(counted))
        return self.combiner.extract_output(accumulator)


class PairedLoss(Fill):
    """Our own metric."""

    def __init__(self, combiner: Any, rows: EvalRows):
        super().__init__(combiner, rows)
        self._changes = combiner.changes(
            rows.labels, _scores(rows, combiner.model), _scores(rows, combiner.baseline)
        )

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        moments = self.combiner.create_accumulator()
        moments.add(self._changes[index])
        return self.combiner.extract_output(moments)


class Determination(Fill):
    """Our own metric."""

    def output(self, index: np.ndarray) -> dict[Any, Any]:
        spread = self.combiner.create_accumulator()
        scores = _scores(self.rows, self.combiner.key.model_name)[index, 0]
        spread.add(self.rows.labels[index], scores)
        return self.combiner.extract_output(spread)


FILLS: dict[str, type[Fill]] = {
    "_ExampleCountCombiner": ExampleCount,
    "_WeightedLabelsPredictionsExamplesCombiner": Sums,
    "_CalibrationHistogramCombiner": Histogram,
    "_BinaryConfusionMatrixCombiner": ConfusionMatrix,
    "_CompilableMetricsCombiner": KerasMetrics,
    "_MeanSquaredErrorCombiner": RegressionErrors,
    "_MeanAbsoluteErrorCombiner": RegressionErrors,
    "PairedLossCombiner": PairedLoss,
    "R2Combiner": Determination,
}


def _scores(rows: EvalRows, model: str) -> np.ndarray:
    return rows.predictions[model] if model else next(iter(rows.predictions.values()))


def _plain_scores(combiner: Any, rows: EvalRows, key: Any) -> np.ndarray:
    """`[n]` float64 scores of the combiner's model, if it wants them as they are."""
    scores = _scores(rows, key.model_name)
    if (
        scores.shape[1] != 1
        or key.sub_key is not None
        or key.output_name
        or combiner._aggregation_type is not None
        or combiner._class_weights
        or combiner._example_weighted
    ):
        raise NotVectorised
    return scores[:, 0].astype(np.float64)


def confusion_matrices(computation: Any, metrics: dict[Any, Any]) -> dict[Any, Any]:
    """The result of a derived computation; TFMA's two loops over 10,000 thresholds as cumulated sums.

    The numbers are equal, not only close: labels are 0 or 1, so that all sums are of whole numbers.
    """
    settings = inspect.getclosurevars(computation.result).nonlocals
    histogram = metrics.get(settings.get("input_metric_key"))
    thresholds = settings.get("thresholds")
    if not isinstance(histogram, Buckets) or not settings.get("use_histogram") or len(thresholds) < 2:
        return computation.result(metrics)
    edges = [threshold + _EPSILON if threshold != 0 else threshold for threshold in thresholds]
    if thresholds[0] >= 0:
        edges = [-_EPSILON, *edges]
    if thresholds[-1] < 1.0:
        edges = [*edges, 1.0 + _EPSILON]
    positives, examples = _rebinned(np.asarray(edges), histogram)
    negatives = examples - positives
    tp, fp = (np.cumsum(part[::-1])[::-1].copy() for part in (positives, negatives))
    fn, tn = (np.concatenate([[0.0], np.cumsum(part)[:-1]]) for part in (positives, negatives))
    offset = 1 if thresholds[0] >= 0 and len(edges) > 1 else 0
    tp, fp, tn, fn = (part[offset : offset + len(thresholds)] for part in (tp, fp, tn, fn))
    above = np.asarray(thresholds) >= 1.0 + _EPSILON
    tp[above], fp[above] = 0.0, 0.0
    fn[above], tn[above] = tp[0], fp[0]
    return {
        settings["matrices_key"]: matrices.Matrices(
            thresholds, tp.tolist(), tn.tolist(), fp.tolist(), fn.tolist()
        )
    }


def _rebinned(edges: np.ndarray, histogram: Buckets) -> tuple[np.ndarray, np.ndarray]:
    """Labels and examples by `[edges[i], edges[i + 1])`, as `calibration_histogram.rebin` sums them."""
    buckets = histograms.DEFAULT_NUM_BUCKETS
    value = (histogram.ids - 1) / buckets * 1.0 + 0.0
    value = np.where(histogram.ids == 0, -np.inf, np.where(histogram.ids >= buckets + 1, np.inf, value))
    at = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 1)
    size = len(edges)
    return (
        np.bincount(at, weights=histogram.labels, minlength=size),
        np.bincount(at, weights=histogram.examples, minlength=size),
    )

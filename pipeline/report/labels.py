"""What metrics and drift measures are called on pages and in tables: the only place where a label is looked up."""

from collections.abc import Iterable

# What the gates' metrics are called, and which direction is better; None where neither is.
METRICS: dict[str, tuple[str, str | None]] = {
    "auc": ("AUC", "higher"),
    "accuracy": ("Accuracy", "higher"),
    "log_loss": ("Log loss", "lower"),
    "rmse": ("RMSE", "lower"),
    "mae": ("MAE", "lower"),
    "mse": ("MSE", "lower"),
    "r2": ("R²", "higher"),
    "auc_precision_recall": ("Area under precision and recall", "higher"),
    "precision": ("Precision", "higher"),
    "recall": ("Recall", "higher"),
    "top_3_accuracy": ("Top 3 accuracy", "higher"),
    "loss": ("Loss", "lower"),
    "calibration": ("Calibration", None),
    "label_mean": ("Label mean", None),
    "example_count": ("Examples", None),
}


def metric_name(key: str) -> str:
    """A metric's name for people.

    >>> metric_name("auc"), metric_name("mean_wait")
    ('AUC', 'Mean wait')
    """
    return METRICS.get(key, (key.replace("_", " ").capitalize(), None))[0]


def lower_is_better(key: str) -> bool | None:
    """True for losses and errors, False for scores, None where neither direction is better or it is unknown.

    >>> lower_is_better("log_loss"), lower_is_better("auc"), lower_is_better("calibration")
    (True, False, None)
    """
    side = METRICS.get(key, ("", None))[1]
    return None if side is None else side == "lower"


def judged_metrics(metrics: Iterable[str], count: int = 2) -> list[str]:
    """The most informative metrics: those with a better direction, in the order of `METRICS`.

    >>> judged_metrics(["example_count", "log_loss", "auc", "recall"])
    ['auc', 'log_loss']
    """
    order = [key for key in METRICS if lower_is_better(key) is not None]
    return sorted((key for key in set(metrics) if key in order), key=order.index)[:count]


# What the data gate's drift measures are called.
MEASURES = {"linf": "L∞", "js": "JS", "kl": "KL", "psi": "PSI"}


def measure_name(key: str) -> str:
    """A drift measure's name; of a user's measure, its key.

    >>> measure_name("linf"), measure_name("hellinger")
    ('L∞', 'hellinger')
    """
    return MEASURES.get(key, key)

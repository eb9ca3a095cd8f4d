"""What metrics and drift measures are called on pages and in tables: the only place where a label is looked up."""

from collections.abc import Iterable
from typing import Any

from noria.components.data_gate.measures import MEASURES
from noria.components.evaluator.metrics import METRICS
from noria.core.errors import ConfigError
from noria.core.seams import Seam

# Stages without work to show.
SILENT = ("SchemaGen",)


def metric_name(key: str) -> str:
    """A metric's name for people.

    >>> metric_name("auc"), metric_name("mean_wait"), metric_name("my_project.metrics.Brier")
    ('AUC', 'Mean wait', 'Brier')
    """
    kind = _kind(METRICS, key)
    return kind.label if kind is not None else _plain(key)


def lower_is_better(key: str) -> bool | None:
    """True for losses and errors, False for scores, None where neither direction is better or it is unknown.

    >>> lower_is_better("log_loss"), lower_is_better("auc"), lower_is_better("calibration")
    (True, False, None)
    """
    kind = _kind(METRICS, key)
    return None if kind is None or kind.better is None else kind.better == "lower"


def judged_metrics(metrics: Iterable[str], count: int = 2) -> list[str]:
    """The most informative metrics: those with a better direction, in the order of `Metric.order`.

    >>> judged_metrics(["example_count", "log_loss", "auc", "recall"])
    ['auc', 'log_loss']
    """
    kinds = {key: kind for key in set(metrics) if (kind := _kind(METRICS, key)) and kind.better}
    return sorted(kinds, key=lambda key: (kinds[key].order, key))[:count]


def measure_name(key: str) -> str:
    """A drift measure's name for people.

    >>> measure_name("psi"), measure_name("my_project.measures.Hellinger")
    ('PSI', 'Hellinger')
    """
    kind = _kind(MEASURES, key)
    return kind.label if kind is not None else _plain(key)


def measure_definitions(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Name and definition of each drift measure that is known here, once.

    >>> measure_definitions(["linf", "linf"])
    [('L∞', "L-infinity distance, the largest difference of any category's share: max |p − q|")]
    """
    kinds = [_kind(MEASURES, key) for key in dict.fromkeys(keys)]
    return [(kind.label, kind.definition) for kind in kinds if kind is not None]


def _kind(seam: Seam[Any], key: str) -> Any:
    """The class of a metric or measure; None where it is a user's that cannot be imported here."""
    try:
        return seam.find(key)
    except ConfigError:
        return None


def _plain(key: str) -> str:
    """A key in words; of an import path, its last part."""
    name = key.rpartition(".")[2].replace("_", " ")
    return name[:1].upper() + name[1:]

"""Whether the rows of a first model have all the classes that it must predict."""

from typing import TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components import gate_statistics

FeatureStatistics: TypeAlias = statistics_pb2.FeatureNameStatistics


def missing(label: FeatureStatistics | None, task: str, classes: int) -> str | None:
    """Why a first model cannot be trained on these rows, or None.

    A model of rows that hold one class serves a constant, and each row of another class counts against the data.

    Args:
      label: statistics of the training rows' label.
      task: `binary`, `multiclass` or `regression`; a quantity needs nothing.
      classes: number of the label's classes, 0 if it is unknown.
    """
    if label is None or task == "regression":
        return None
    rows = gate_statistics.text_of(label, gate_statistics.CLASSES)
    asked = max(classes, 2)
    if not rows or len(rows) >= asked:
        return None
    held = ", ".join(f"{name} ({count:,} rows)" for name, count in sorted(rows.items()))
    return (
        f"the training rows hold {len(rows)} of the label's {asked} classes: {held}; a first model is trained when "
        "its window holds all of them. If the data are sorted by the label, shuffle them, or name a time"
    )

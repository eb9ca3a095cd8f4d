"""Whether the rows of a first model have the classes that it must predict."""

from collections.abc import Mapping
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components import gate_statistics

FeatureStatistics: TypeAlias = statistics_pb2.FeatureNameStatistics

# A class that is absent by chance with less than this probability is absent because of the order of the rows.
CHANCE = 0.001
# Spans in which a class may come that no row had so far.
SPANS = 8


def missing(label: FeatureStatistics | None, task: str, known: Mapping[str, int], spans: int) -> str | None:
    """Why a first model cannot be trained on these rows, or None.

    A model of rows that hold one class serves a constant, and each row of another class counts against the data. But a
    rare class is not in each window, and one that is declared may never come: with two classes there is a model.

    Args:
      label: statistics of the training rows' label.
      task: `binary`, `multiclass` or `regression`; a quantity needs nothing.
      known: class → its rows in all spans that are there, in the order of the classes; empty if they are unknown.
      spans: spans that were judged, with this one.
    """
    if label is None or task == "regression":
        return None
    rows = gate_statistics.text_of(label, gate_statistics.CLASSES)
    asked = max(len(known), 2)
    if not rows or len(rows) >= asked:
        return None
    here, total = sum(rows.values()), max(sum(known.values()), 1)
    absent = [name for number, name in enumerate(known) if str(number) not in rows]
    awaited = [
        name
        for name in absent
        if (spans < SPANS if not known[name] else (1 - known[name] / total) ** here < CHANCE)
    ]
    if len(rows) >= 2 and not awaited:
        return None
    held = ", ".join(f"{number} ({count:,} rows)" for number, count in sorted(rows.items()))
    names = ", ".join(map(repr, awaited or absent)) or "another class"
    return (
        f"the training rows hold {len(rows)} of the label's {asked} classes: {held}; a first model is trained when "
        f"its window has rows of {names}. If the data are sorted by the label, shuffle them, or name a time"
    )

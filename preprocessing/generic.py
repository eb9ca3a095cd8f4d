"""A `preprocessing_fn` made from a schema: what `noria init` starts from, and what tests of any table use."""

import dataclasses
from collections.abc import Callable, Sequence

from tensorflow_metadata.proto.v0 import schema_pb2

from noria.core.errors import ConfigError
from noria.core.periods import DAY, WEEK
from noria.preprocessing import features
from noria.preprocessing.features import Column, tf

# Entries of a vocabulary: an embedding of 10,000 rows is trained well by some 100,000 rows, and rarer values by none.
TOP_K = 10_000


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which column becomes what.

    Attributes:
      numbers: z-scores.
      gaps: those of the numbers that get a `<name>_missing` beside them.
      categories: vocabularies.
      time: the event-time column, whose time of day and of week become features; empty for none.
      label: passed through.
    """

    numbers: tuple[str, ...]
    gaps: tuple[str, ...]
    categories: tuple[str, ...]
    time: str
    label: str


def plan(schema: schema_pb2.Schema, label: str, time: str = "", key: Sequence[str] = ()) -> Plan:
    """Sorts a schema's features: strings and categorical integers are categories, other numbers are numbers.

    Args:
      schema: the project's schema.
      label: the label column.
      time: the event-time column; empty for none.
      key: columns that identify a row and say nothing about it.

    Raises:
      ConfigError: the schema lacks the label, or nothing is left to learn from.
    """
    names = {feature.name for feature in schema.feature}
    if label not in names:
        raise ConfigError(
            f"the schema has no feature {label!r}", next_step="correct label.column in the config"
        )
    numbers, gaps, categories = [], [], []
    for feature in schema.feature:
        if feature.name in {label, time, *key}:
            continue
        if feature.type == schema_pb2.BYTES or feature.int_domain.is_categorical:
            categories.append(feature.name)
        else:
            numbers.append(feature.name)
            # Inference asks for nine tenths of the presence it saw: below that there were gaps.
            if feature.presence.min_fraction < 0.9:
                gaps.append(feature.name)
    if not numbers and not categories and not time:
        raise ConfigError(
            "the schema has no feature but the label and the key", next_step="add columns to learn from"
        )
    return Plan(tuple(numbers), tuple(gaps), tuple(categories), time, label)


def build(what: Plan, top_k: int = TOP_K) -> Callable[[dict[str, Column]], dict[str, tf.Tensor]]:
    """Makes the `preprocessing_fn` of a plan.

    Args:
      what: which column becomes what.
      top_k: entries of each vocabulary, at most.
    """

    def preprocessing_fn(inputs: dict[str, Column]) -> dict[str, tf.Tensor]:
        outputs = features.numbers({name: inputs[name] for name in what.numbers})
        outputs |= features.gaps({f"{name}_missing": inputs[name] for name in what.gaps})
        for name in what.categories:
            outputs[name] = features.category(inputs[name], name, top_k=top_k)
        if what.time:
            outputs |= features.circle(inputs[what.time], "time_of_day", DAY)
            outputs |= features.circle(inputs[what.time], "time_of_week", WEEK)
        return outputs | features.label(inputs, what.label)

    return preprocessing_fn

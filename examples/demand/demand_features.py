"""Features of an hour in a shop, all of them known before the hour begins."""

from noria.preprocessing import features
from noria.preprocessing.features import Column, tf


def preprocessing_fn(inputs: dict[str, Column]) -> dict[str, tf.Tensor]:
    """Raw columns of `demand_events.table` to features `[batch]`. `time` only grows and is not used."""
    outputs = {name: features.number(inputs[name]) for name in ("price", "promotion", "temperature")}
    outputs["temperature_missing"] = features.missing(inputs["temperature"])
    outputs |= {name: features.category(inputs[name], name) for name in ("shop", "hour", "weekday")}
    return outputs | features.label(inputs, "items")

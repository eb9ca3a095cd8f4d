"""Features of a view, all of them known when the item is shown."""

from noria.preprocessing import features
from noria.preprocessing.features import Column, tf


def preprocessing_fn(inputs: dict[str, Column]) -> dict[str, tf.Tensor]:
    """Columns of `labelled_views.labelled` to features `[batch]`. `view` and `at` only grow and are not used."""
    outputs = {name: features.category(inputs[name], name) for name in ("user", "item", "category")}
    outputs["price"] = features.number(inputs["price"])
    outputs |= {name: features.log_number(inputs[name]) for name in ("age_days", "views_last_hour")}
    return outputs | features.label(inputs, "bought")

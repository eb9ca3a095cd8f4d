"""Schema evolution: columns whose stored type has changed, and labels with further classes."""

from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import schema_pb2

_TYPES = {
    "int64": schema_pb2.INT,
    "double": schema_pb2.FLOAT,
    "float": schema_pb2.FLOAT,
    "string": schema_pb2.BYTES,
}


def retype(schema: schema_pb2.Schema, types: Mapping[str, str]) -> list[str]:
    """Gives features the types that their columns are stored in.

    A range of whole numbers stays as a range of numbers. What only makes sense for the old type is removed: the domain,
    and the comparators of numbers where the column is text now, or the reverse.

    Args:
      schema: changes in place.
      types: column -> stored Arrow type (`int64`, `double`, `float`, `string`).

    Returns:
      What has changed, a line for each feature.
    """
    changes = []
    for feature in schema.feature:
        if feature.name not in types:
            continue
        old, new = feature.type, _TYPES[types[feature.name]]
        never_seen = not feature.HasField("value_count")  # inferred from a column without a value
        domain = feature.WhichOneof("domain_info")
        if old == new and not (never_seen and domain):
            continue
        limits = feature.int_domain if domain == "int_domain" else None
        kept = limits is not None and new == schema_pb2.FLOAT and not limits.is_categorical and not never_seen
        low, high = (float(limits.min), float(limits.max)) if limits is not None and kept else (0.0, 0.0)
        if domain:
            feature.ClearField(domain)
        if kept:
            feature.float_domain.min, feature.float_domain.max = low, high
        if schema_pb2.BYTES in (old, new) and old != new:
            feature.ClearField("skew_comparator")
            feature.ClearField("drift_comparator")
        feature.type = new
        if old != new:
            names = schema_pb2.FeatureType.Name(old), schema_pb2.FeatureType.Name(new)
            changes.append(f"{feature.name}: type {names[0]} -> {names[1]}")
        else:
            changes.append(f"{feature.name}: range removed, as the column was empty")
    return changes


def add_classes(schema: schema_pb2.Schema, label: str, classes: int) -> list[str]:
    """Raises the label's upper bound to the last class number; returns what has changed."""
    for feature in schema.feature:
        domain = feature.int_domain
        if feature.name == label and feature.HasField("int_domain") and domain.max < classes - 1:
            old, domain.max = domain.max, classes - 1
            return [f"{label}: class numbers up to {old} -> {domain.max}"]
    return []

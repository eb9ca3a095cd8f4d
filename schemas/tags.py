"""Tags of a feature in its schema: `annotation { tag: ... }`.

| tag | meaning for DataGate |
| --- | --- |
| `stable` | changes slowly in the world: a large shift is an error in the data and makes the span `broken` |
| `volatile` | changes all the time (weather, seasons): its drift is reported and has no effect |
"""

from tensorflow_metadata.proto.v0 import schema_pb2

STABLE = "stable"
VOLATILE = "volatile"


def tagged(schema: schema_pb2.Schema, tag: str) -> set[str]:
    """Names of the features with the tag."""
    return {feature.name for feature in schema.feature if tag in feature.annotation.tag}

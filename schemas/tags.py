"""What a schema says about a feature beyond its type: tags in `annotation { tag: ... }`.

| tag | meaning for DataGate |
| --- | --- |
| `stable` | changes slowly in the world: a gross shift is an error in the data and blocks |
| `volatile` | changes all the time (weather, seasons): its drift is reported and does not call for a refresh |
"""

from tensorflow_metadata.proto.v0 import schema_pb2

STABLE = "stable"
VOLATILE = "volatile"


def tagged(schema: schema_pb2.Schema, tag: str) -> set[str]:
    """Names of the features that carry the tag."""
    return {feature.name for feature in schema.feature if tag in feature.annotation.tag}

"""A champion from before a column changed its type: rows in the types that it reads."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from noria.schemas import loader


def older_types(champion: Path, schema: schema_pb2.Schema) -> dict[str, int]:
    """The features that the champion reads in another type than they have now, and that type.

    Args:
      champion: the champion's artifact; its schema is in it.
      schema: of the raw examples.
    """
    path = champion / "schema" / "schema.pbtxt"
    if not path.is_file():
        return {}
    now = {feature.name: feature.type for feature in schema.feature}
    old = {feature.name: feature.type for feature in loader.load(path).feature}
    return {name: kind for name, kind in old.items() if name in now and now[name] != kind}


def in_older_types(examples: Iterable[bytes], types: Mapping[str, int]) -> list[bytes]:
    """Serialized tf.Examples with some features in other types.

    Fractions are rounded where the type is of whole numbers. A text where it is of numbers, or the reverse, is missing.

    Args:
      examples: the rows.
      types: feature -> INT, FLOAT or BYTES.
    """
    converted = []
    for row in examples:
        example = tf.train.Example.FromString(row)
        features = example.features.feature
        for name, kind in types.items():
            if name not in features:
                continue
            values = [*features[name].int64_list.value, *features[name].float_list.value]
            if kind == schema_pb2.INT and values:
                features[name].int64_list.value[:] = [round(value) for value in values]
            elif kind == schema_pb2.FLOAT and values:
                features[name].float_list.value[:] = [float(value) for value in values]
            else:
                del features[name]
        converted.append(example.SerializeToString())
    return converted

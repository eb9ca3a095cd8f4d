"""Protobuf, with the schema of each message in Confluent's schema registry.

After the schema's number a message says which of the schema's message types it is: the indexes on the way to it, as
zigzag varints, their count first; one zero byte means the first type.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.ingestion.event_formats._registry import Registry, split
from noria.ingestion.event_formats.base import RecordFormat

Getter = Callable[[Any], Any]


class Protobuf(RecordFormat):
    """`given` has the settings of the registry. The flat fields of a message can be columns.

    Enums are their names, `google.protobuf.Timestamp` is a time, wrappers such as `StringValue` are their value. A
    field without presence has its default if it is not set, as Protobuf says.
    """

    def __init__(self, given: Any = None, folder: Path = Path()):
        super().__init__(given, folder)
        self._registry = Registry(given, folder, "PROTOBUF", "stream.format.protobuf")
        self._files: dict[int, Any] = {}
        self._kinds: dict[tuple[int, bytes], tuple[Any, dict[str, Getter], int]] = {}

    def event(self, value: bytes) -> dict[str, Any]:
        number, data = split(value)
        kind, getters, begin = self._kind(number, data)
        try:
            message = kind.FromString(data[begin:])
            return {name: get(message) for name, get in getters.items()}
        except Exception as error:  # DecodeError differs between Protobuf's implementations
            raise ValueError(f"it does not match schema {number}: {error}") from None

    def _kind(self, number: int, data: bytes) -> tuple[Any, dict[str, Getter], int]:
        """The class of a message, what gets the value of each flat field, and where the message begins."""
        indexes, begin = _indexes(data)
        key = number, data[:begin]
        if key not in self._kinds:
            if number not in self._files:
                self._files[number] = self._file(number)
            found = self._files[number]
            try:
                descriptor = list(found.message_types_by_name.values())[indexes[0]]
                for index in indexes[1:]:
                    descriptor = descriptor.nested_types[index]
            except IndexError:
                raise ValueError(f"schema {number} has no message type {indexes}") from None
            getters = {field.name: get for field in descriptor.fields if (get := _getter(field)) is not None}
            self._kinds[key] = _class_of(descriptor), getters, begin
        return self._kinds[key]

    def _file(self, number: int) -> Any:
        from google.protobuf import descriptor_pool

        pool = descriptor_pool.DescriptorPool()
        _add_known(pool)
        try:
            return self._add(pool, self._registry.schema(number), f"noria-{number}.proto", set())
        except (TypeError, KeyError, RuntimeError) as error:
            raise ValueError(f"schema {number} is not a schema of Protobuf: {error}") from None

    def _add(self, pool: Any, found: dict[str, Any], name: str, added: set[str]) -> Any:
        """Adds a schema to a pool, after those that it imports."""
        from google.protobuf import descriptor_pb2, message

        for each in found.get("references") or ():
            if each["name"] not in added and not each["name"].startswith("google/protobuf/"):
                self._add(pool, self._registry.reference(each), each["name"], added)
        try:
            data = base64.b64decode(found["schema"], validate=True)
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
        except (ValueError, message.DecodeError):
            raise ValueError(
                "the schema registry gives no descriptor for `?format=serialized`, as Confluent's does"
            ) from None
        file.name = name
        added.add(name)
        pool.AddSerializedFile(file.SerializeToString())
        return pool.FindFileByName(name)


def _indexes(data: bytes) -> tuple[list[int], int]:
    """The indexes of the message type, and where the message begins.

    Raises:
      ValueError: the message ends before.
    """
    count, at = _varint(data, 0)
    found = []
    for _ in range(count):
        index, at = _varint(data, at)
        found.append(index)
    if any(index < 0 for index in (count, *found)):
        raise ValueError("the indexes of its message type are negative")
    return found or [0], at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 35:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise ValueError("the indexes of its message type are cut off")


def _getter(field: Any) -> Getter | None:
    """What gets the value of a field as text, number or truth; None for a list or another message."""
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    name = field.name
    if repeated:
        return None
    if field.message_type is not None:
        full = field.message_type.full_name
        if full == "google.protobuf.Timestamp":
            return lambda message: getattr(message, name).ToJsonString() if message.HasField(name) else None
        if full.startswith("google.protobuf.") and full.endswith("Value") and full.count(".") == 2:
            if "value" not in field.message_type.fields_by_name:
                return None
            return lambda message: _plain(getattr(message, name).value) if message.HasField(name) else None
        return None
    get: Getter
    if field.enum_type is not None:
        names = {number: each.name for number, each in field.enum_type.values_by_number.items()}

        def get(message: Any) -> Any:
            number = getattr(message, name)
            return names.get(number, number)
    elif field.type == field.TYPE_BYTES:

        def get(message: Any) -> Any:
            return _plain(getattr(message, name))
    else:

        def get(message: Any) -> Any:
            return getattr(message, name)

    if field.containing_oneof is not None or field.has_presence:
        inner = get
        return lambda message: inner(message) if message.HasField(name) else None
    return get


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _class_of(descriptor: Any) -> Any:
    from google.protobuf import message_factory

    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(descriptor.file.pool).GetPrototype(descriptor)


def _add_known(pool: Any) -> None:
    """Adds what Protobuf itself brings, which no registry has."""
    from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    for module in (any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)

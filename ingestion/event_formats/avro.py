"""Avro, with the schema of each message in Confluent's schema registry.

fastavro reads a message with the schema that it was written with; the fields follow Avro's rules for records.
"""

import datetime
import decimal
import functools
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.core.errors import ConfigError
from noria.ingestion.event_formats._registry import Registry, split
from noria.ingestion.event_formats.base import RecordFormat


class Avro(RecordFormat):
    """`given` has the settings of the registry. A message is one record; its flat fields can be columns."""

    def __init__(self, given: Any = None, folder: Path = Path()):
        super().__init__(given, folder)
        self._registry = Registry(given, folder, "AVRO", "stream.format.avro")
        self._schemas: dict[int, Any] = {}

    def event(self, value: bytes) -> dict[str, Any]:
        number, data = split(value)
        schema, logical = self._schema(number)
        stream = io.BytesIO(data)
        try:
            record = self._read(stream, schema, None)
        except Exception as error:  # fastavro raises what its parts raise
            raise ValueError(f"it does not match schema {number}: {type(error).__name__}: {error}") from None
        if stream.read(1):
            raise ValueError(f"it does not match schema {number}: it is longer")
        if not isinstance(record, dict):
            raise ValueError(f"schema {number} is of no record")
        for name in logical:
            record[name] = _plain(record[name])
        return record

    @functools.cached_property
    def _read(self) -> Callable[..., Any]:
        return _library().schemaless_reader

    def _schema(self, number: int) -> tuple[Any, list[str]]:
        """The parsed schema, and the fields whose values are not plain."""
        if number not in self._schemas:
            found = self._registry.schema(number)
            try:
                named: dict[str, Any] = {}
                self._parse_references(found, named)
                schema = _library().parse_schema(json.loads(found["schema"]), named_schemas=named)
            except _errors() as error:
                raise ValueError(f"schema {number} is not a schema of Avro: {error}") from None
            fields = schema.get("fields", []) if isinstance(schema, dict) else []
            self._schemas[number] = schema, [each["name"] for each in fields if not _is_plain(each["type"])]
        return self._schemas[number]

    def _parse_references(self, found: dict[str, Any], named: dict[str, Any]) -> None:
        for each in found.get("references") or ():
            inner = self._registry.reference(each)
            self._parse_references(inner, named)
            _library().parse_schema(json.loads(inner["schema"]), named_schemas=named)


def _is_plain(kind: Any) -> bool:
    """Whether all values of a type are texts, numbers or truths already."""
    if isinstance(kind, list):
        return all(map(_is_plain, kind))
    return kind in ("null", "boolean", "int", "long", "float", "double", "string")


def _plain(value: Any) -> Any:
    """A value of a logical type as Noria reads it from text; bytes as text."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    return value


def _library() -> Any:
    try:
        import fastavro
    except ImportError:
        raise ConfigError(
            "Avro needs the package fastavro",
            where="config key stream.format",
            next_step="pip install 'noria[registry]'",
        ) from None
    return fastavro


def _errors() -> tuple[type[Exception], ...]:
    """What a schema that is none gives."""
    from fastavro.schema import SchemaParseException, UnknownType

    return SchemaParseException, UnknownType, ValueError, KeyError, TypeError, AttributeError

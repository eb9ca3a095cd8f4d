"""The formats of events: JSON, and Avro and Protobuf with a schema registry that answers over HTTP."""

import dataclasses
import datetime
import decimal
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2

from noria.core.errors import ConfigError, DataError
from noria.ingestion.event_format_contract import check_event_format
from noria.ingestion.event_formats import EVENT_FORMATS
from noria.ingestion.event_formats import _registry as registries
from noria.ingestion.event_formats.avro import Avro
from noria.ingestion.event_formats.json import Json
from noria.ingestion.event_formats.protobuf import Protobuf
from noria.ingestion.segments import stream_letters
from noria.ingestion.segments.segment_store import SegmentStore
from noria.pipeline.config import Config
from tests.unit.ingestion.streams.registry import Schemas, serving
from tests.unit.ingestion.streams.scripted import HOUR, SETTINGS, START, Scripted, Topic, ids, ingester

COLUMNS = {"id": "int", "price": "float", "at": "time", "y": "any", "who": "any"}
GOOD = [
    {"id": 1, "price": 1.5, "at": "2023-11-14T22:00:00Z", "y": 0, "who": "ann"},
    {"id": 2, "price": None, "at": "2023-11-14T22:01:00Z", "y": 1, "who": None},
]
Field = descriptor_pb2.FieldDescriptorProto


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Schemas]:
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    with serving() as schemas:
        yield schemas


def given(schemas: Schemas) -> dict[str, Any]:
    return {"registry": schemas.url, "username": "reader", "password": {"env": "REGISTRY_PASSWORD"}}


def avro_schema(*more: Any) -> dict[str, Any]:
    fields = [
        {"name": "id", "type": "long"},
        {"name": "price", "type": ["null", "double"], "default": None},
        {"name": "at", "type": "string"},
        {"name": "y", "type": "int"},
        {"name": "who", "type": ["null", "string"], "default": None},
        *more,
    ]
    return {"type": "record", "name": "Event", "fields": fields}


def avro(number: int, schema: Any, event: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), event)
    return b"\0" + struct.pack(">I", number) + out.getvalue()


def test_json() -> None:
    """JSON keeps the contract, and is what a project has that names no format."""
    bad = [b"", b"{", b"[1]", b'"a"', b'{"id": "x"}', b'{"id": 1}\n{"id": 2}', b"\xff", b'{"price": "1"}']
    check_event_format(Json, COLUMNS, [(json.dumps(each).encode(), each) for each in GOOD], bad)
    assert {"avro", "json", "protobuf"} == set(EVENT_FORMATS.names())


def test_avro(registry: Schemas) -> None:
    """Avro keeps the contract; each schema is asked for once, and messages of two schemas may be mixed."""
    schema, wider = avro_schema(), avro_schema({"name": "more", "type": {"type": "array", "items": "int"}})
    text = avro_schema()
    text["fields"][0]["type"] = "string"
    for number, each in ((7, schema), (8, wider), (9, text)):
        registry.add(number, each)
    registry.add(10, {"type": "record", "name": "E"})
    registry.add(11, "string")
    registry.add(12, descriptor_pb2.FileDescriptorProto(name="a.proto"), "PROTOBUF")
    good = [(avro(7, schema, each), each) for each in GOOD]
    good += [(avro(8, wider, {**each, "more": [1]}), each) for each in GOOD]
    whole = good[0][0]
    bad = [b"", b"{}", b"\0\0\0", whole[:-1], whole + b"x", b"\1" + whole[1:]]
    bad += [b"\0" + struct.pack(">I", number) + whole[5:] for number in (10, 11, 12, 99)]
    bad.append(avro(9, text, {**GOOD[0], "id": "x"}))
    check_event_format(lambda: Avro(given(registry)), COLUMNS, good, bad)
    assert 1 == registry.asked.count("/schemas/ids/7") == registry.asked.count("/schemas/ids/99")


def test_values_of_avros_logical_types(registry: Schemas) -> None:
    """Times, dates, decimals, enums and bytes are text that Noria reads; named types of other subjects are found."""
    kinds = {
        "at": {"type": "long", "logicalType": "timestamp-millis"},
        "day": {"type": "int", "logicalType": "date"},
        "sum": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
        "raw": "bytes",
        "kind": "Kind",
    }
    kind = {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}
    schema = {"type": "record", "name": "E", "fields": [{"name": n, "type": t} for n, t in kinds.items()]}
    registry.add(1, schema, references=(registry.add_subject("kind", 3, kind),))
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    event = {"at": at, "day": at.date(), "sum": decimal.Decimal("12.50"), "raw": b"x", "kind": "b"}
    whole = {**schema, "fields": [*schema["fields"][:4], {"name": "kind", "type": kind}]}
    form = Avro(given(registry))
    form.begin({"at": "time", "day": "any", "sum": "any", "raw": "any", "kind": "any"})
    expected = ["2024-01-02T03:04:05+00:00", "2024-01-02", "12.50", "x", "b"]
    assert expected == list(form.one(avro(1, whole, event)))


def proto_file() -> descriptor_pb2.FileDescriptorProto:
    """Two messages; the second one has a nested one, which is the event."""
    file = descriptor_pb2.FileDescriptorProto(name="events.proto", package="shop", syntax="proto3")
    file.dependency.extend(
        ["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto", "kind.proto"]
    )
    file.message_type.add(name="Other")
    event = file.message_type.add(name="Outer").nested_type.add(name="Event")
    fields = [
        ("id", Field.TYPE_INT64, ""),
        ("price", Field.TYPE_MESSAGE, ".google.protobuf.DoubleValue"),
        ("at", Field.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
        ("y", Field.TYPE_INT32, ""),
        ("who", Field.TYPE_STRING, ""),
        ("kind", Field.TYPE_ENUM, ".shop.Kind"),
        ("raw", Field.TYPE_BYTES, ""),
    ]
    for number, (name, kind, type_name) in enumerate(fields, 1):
        field = event.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
        if type_name:
            field.type_name = type_name
    event.field.add(name="tags", number=9, type=Field.TYPE_STRING, label=Field.LABEL_REPEATED)
    event.oneof_decl.add(name="_who")
    event.field[4].oneof_index, event.field[4].proto3_optional = 0, True
    return file


def kind_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="x", package="shop", syntax="proto3")
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="VIEW", number=0)
    kind.value.add(name="BUY", number=1)
    return file


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def proto(number: int, event: dict[str, Any], indexes: bytes = b"\4\2\0") -> bytes:
    """An event as its bytes are written: tag, then a varint, or length and content."""
    at = timestamp_pb2.Timestamp()
    at.FromJsonString(event["at"])
    body = b"\x08" + varint(event["id"]) + b"\x1a" + varint(at.ByteSize()) + at.SerializeToString()
    if event["price"] is not None:
        body += b"\x12\x09\x09" + struct.pack("<d", event["price"])
    if event["y"]:
        body += b"\x20" + varint(event["y"])
    if event["who"] is not None:
        body += b"\x2a" + varint(len(event["who"])) + event["who"].encode()
    body += b"\x4a\x01t"
    if event.get("kind") == "BUY":
        body += b"\x30\x01"
    return b"\0" + struct.pack(">I", number) + indexes + body


def add_proto(registry: Schemas, number: int) -> None:
    reference = {**registry.add_subject("kind", 1, kind_file(), "PROTOBUF"), "name": "kind.proto"}
    registry.add(number, proto_file(), "PROTOBUF", (reference,))


def test_protobuf(registry: Schemas) -> None:
    """Protobuf keeps the contract: nested types by their indexes, presence, enums, times, wrappers and imports."""
    add_proto(registry, 7)
    events = [{**GOOD[0], "kind": "BUY", "raw": ""}, {**GOOD[1], "kind": "VIEW", "raw": ""}]
    good = [(proto(7, each), each) for each in events]
    whole = good[0][0]
    bad = [b"", b"{}", whole[:-1], b"\0" + struct.pack(">I", 8) + whole[5:]]
    bad += [proto(7, events[0], indexes) for indexes in (b"\2\x10", b"\4\2\x10", b"\1", b"\x80")]
    check_event_format(lambda: Protobuf(given(registry)), {**COLUMNS, "kind": "any", "raw": "any"}, good, bad)
    assert [] == [name for name in ("tags",) if name in Protobuf(given(registry)).event(whole)]
    first = Protobuf(given(registry))
    assert {} == first.event(b"\0" + struct.pack(">I", 7) + b"\0")  # one zero byte is the first type


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
def test_from_a_stream_to_spans(registry: Schemas, tmp_path: Path, kind: str) -> None:
    """Events become spans, tombstones are skipped, a bad one is a dead letter, and is in once after its replay."""
    schema = avro_schema()
    if kind == "avro":
        registry.add(7, schema)
    else:
        add_proto(registry, 7)

    def message(number: int, i: int) -> bytes:
        at = datetime.datetime.fromtimestamp(START + i * HOUR // 10, datetime.timezone.utc)
        event = {"id": i, "price": 0.5, "at": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "y": i % 2, "who": "a"}
        return avro(number, schema, event) if kind == "avro" else proto(number, event)

    topic = Topic()
    topic.add(0, *(message(7, i) for i in range(15)), None, message(17, 15), b"{}")
    topic.add(0, *(message(7, i) for i in range(16, 25)))
    made = EVENT_FORMATS.find(kind)
    settings = dataclasses.replace(SETTINGS, columns=("id", "price", "who"))
    how = {"form": lambda: made(given(registry))}
    ingester(tmp_path, Scripted(topic), settings, **how).run(flush=True)
    assert [*range(15), *range(16, 25)] == ids(tmp_path)
    assert 1 == SegmentStore(tmp_path).state().counts["tombstones"]
    unknown, text = stream_letters.letters(SegmentStore(tmp_path))
    assert "the schema registry has no schema 17" == unknown["reason"]
    assert "does not begin with a zero byte" in text["reason"]
    registry.schemas["/schemas/ids/17"] = registry.schemas["/schemas/ids/7"]
    work = ingester(tmp_path, Scripted(topic), settings, **how)
    good, bad = stream_letters.replay(work)
    assert (1, 1) == (len(good), len(bad))
    work.run(flush=True)
    assert [*range(25)] == ids(tmp_path)


def test_a_registry_that_fails_stops_the_ingestion(
    registry: Schemas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event becomes a dead letter for it; the message names no secret, and the next run has all events."""
    schema = avro_schema()
    registry.add(7, schema)
    topic = Topic()
    topic.add(0, *(avro(7, schema, {**GOOD[0], "id": i}) for i in range(5)))
    how = {"form": lambda: Avro(given(registry))}
    registry.status = 403
    with pytest.raises(DataError, match="answers 403 for schema 7: it is not well"):
        ingester(tmp_path, Scripted(topic), **how).run(flush=True)
    registry.status = 200
    monkeypatch.setenv("REGISTRY_PASSWORD", "wrong")
    with pytest.raises(DataError, match="answers 401") as error:
        ingester(tmp_path, Scripted(topic), **how).run(flush=True)
    assert "wrong" not in str(error.value)
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    ingester(tmp_path, Scripted(topic), **how).run(flush=True)
    assert [*range(5)] == ids(tmp_path) and [] == stream_letters.letters(SegmentStore(tmp_path))


def test_a_schema_that_comes_later(registry: Schemas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema that was not there is asked for again after a while."""
    form = Avro(given(registry))
    value = avro(7, avro_schema(), GOOD[0])
    with pytest.raises(ValueError, match="has no schema 7"):
        form.event(value)
    registry.add(7, avro_schema())
    with pytest.raises(ValueError, match="has no schema 7"):
        form.event(value)
    monkeypatch.setattr(registries, "ABSENT_SECONDS", 0)
    assert 1 == form.event(value)["id"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("xml", "must be one of avro, json, protobuf"),
        ({"avro": {}, "json": {}}, "must have one name, got avro, json"),
        ({"avro": {"url": "http://a"}}, "needs the URL of a schema registry"),
        ("avro", "needs the URL of a schema registry"),
        ({"avro": {"registry": "http://a", "username": "u", "password": "p"}}, "is a secret"),
    ],
)
def test_wrong_settings(tmp_path: Path, written: Any, message: str) -> None:
    """A format that is not there, or settings that it does not have, are errors of the config."""
    values = {
        "name": "m",
        "label": {"column": "y", "classes": [0, 1]},
        "span": "rows:9",
        "stream": {"source": {"log": "e"}, "format": written},
    }
    with pytest.raises((ConfigError, ValueError), match=message):
        Config.read(values, tmp_path / "noria.yaml").stream_settings().form()

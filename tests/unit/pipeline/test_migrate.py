"""`noria migrate`: a column's type in all spans, with what would be lost; and the schema follows."""

import json
from pathlib import Path
from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2
from typer.testing import CliRunner

from noria.core.errors import ConfigError
from noria.ingestion.calendar import Calendar
from noria.pipeline.cli.app import app
from noria.pipeline.config import Config, load
from noria.pipeline.runs.ingest import ingest
from noria.pipeline.runs.migrate import migrate
from noria.schemas import evolution, loader
from noria.stores.spans import SpanStore


@pytest.fixture
def project(tmp_path: Path) -> Config:
    """A project with one span of whole numbers, texts and labels."""
    (tmp_path / "noria.yaml").write_text("name: rides\nlabel: tip\nspan: rows:4\ndata: {source: '*.csv'}\n")
    (tmp_path / "a.csv").write_text("zip,word,tip\n501,1.5,0\n502,x,1\n503,2,0\n504,,1\n")
    schema = schema_pb2.Schema()
    for name, kind in (("zip", schema_pb2.INT), ("word", schema_pb2.BYTES), ("tip", schema_pb2.INT)):
        schema.feature.add(name=name, type=kind).value_count.max = 1
    schema.feature[0].int_domain.max = 999
    loader.save(schema, tmp_path / "schema.pbtxt")
    config = load(tmp_path)
    ingest(config, lambda record: None)
    return config


def _stored(config: Config, column: str) -> list[Any]:
    return SpanStore(config.home_path).table(1, [column])[column].to_pylist()


def test_numbers_become_text(project: Config) -> None:
    """All spans are read as text, the schema follows, and the next file's codes are read."""
    done = migrate(project, {"zip": "string"})
    assert (True, [0], ["schema.pbtxt has changed: zip: type INT -> BYTES"]) == (
        done.done,
        [change.lost for change in done.changes],
        done.notes,
    )
    (project.folder / "b.csv").write_text("zip,word,tip\n00501,a,0\nA1,b,1\nA2,c,1\nA3,c,1\n")
    assert 4 == ingest(project, lambda record: None)["rows"]
    assert ["501", "502", "503", "504"] == _stored(project, "zip")
    assert schema_pb2.BYTES == loader.load(project.schema_path).feature[0].type


def test_a_loss_needs_consent_and_can_be_undone(project: Config) -> None:
    """Nothing changes until the loss is accepted; the files keep the values, so that the type can be set back."""
    done = migrate(project, {"word": "float"})
    assert not done.done and (1, ["x"], [1]) == (
        done.changes[0].lost,
        done.changes[0].examples,
        done.changes[0].spans,
    )
    assert ["1.5", "x", "2", None] == _stored(project, "word")
    assert migrate(project, {"word": "float"}, accept_loss=True).done
    assert [1.5, None, 2.0, None] == _stored(project, "word")
    assert migrate(project, {"word": "string"}).done
    assert ["1.5", "x", "2", None] == _stored(project, "word")


def test_the_command(project: Config) -> None:
    """It says what would be lost and which step does it; `--json` gives the same as an object."""
    config = ["--config", str(project.path)]
    refused = CliRunner().invoke(app, ["migrate", "word=int", *config, "--json"])
    assert 1 == refused.exit_code and ["1.5", "x"] == json.loads(refused.stdout)["changes"][0]["examples"]
    done = CliRunner().invoke(app, ["migrate", "word=int", "--accept-loss", *config])
    assert 0 == done.exit_code and "word: string -> int; 2 of 3 values are lost" in done.stdout
    known = Calendar.load(SpanStore(project.home_path))
    assert known is not None and "int" == known.columns["word"]


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"tip": "string"}, "'tip' is the label"),
        ({"zap": "string"}, "no column 'zap'"),
        ({"zip": "strong"}, "did you mean 'string'"),
    ],
)
def test_what_cannot_be_migrated(project: Config, types: dict[str, str], message: str) -> None:
    """The label, columns that do not exist, and types that do not."""
    with pytest.raises(ConfigError, match=message):
        migrate(project, types)


def test_a_schema_follows(project: Config) -> None:
    """A range of whole numbers becomes one of numbers; that of an empty column goes; a label gets more classes."""
    schema = loader.load(project.schema_path)
    empty = schema.feature.add(name="empty", type=schema_pb2.FLOAT)
    empty.float_domain.max = 1.0
    schema.feature[2].int_domain.max = 1
    assert ["zip: type INT -> FLOAT", "empty: range removed, as the column was empty"] == evolution.retype(
        schema, {"zip": "double", "empty": "double", "gone": "string"}
    )
    assert 999.0 == schema.feature[0].float_domain.max and not schema.feature[3].HasField("float_domain")
    assert ["tip: class numbers up to 1 -> 2"] == evolution.add_classes(schema, "tip", 3)
    assert [] == evolution.retype(schema, {"zip": "double", "empty": "double"})
    assert [] == evolution.add_classes(schema, "tip", 3)

"""Which columns the project's preprocessing reads, and what becomes of one that it does not read."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import schema_pb2

from noria.pipeline.config import load
from noria.pipeline.runs.ingest import ingest
from noria.schemas import loader
from noria.stores.spans import SpanStore

FEATURES = """
from noria.preprocessing import features


def preprocessing_fn(inputs):
    return {"miles": features.number(inputs["miles"])} | features.label(inputs, "tip")
"""


def test_what_the_preprocessing_reads(tmp_path: Path) -> None:
    """A column that no feature reads becomes text when its values do; one that a feature reads keeps its type."""
    (tmp_path / "noria.yaml").write_text(
        "name: rides\nlabel: tip\nspan: rows:4\ndata: {source: '*.csv'}\n"
        "schema: schema.pbtxt\npreprocessing: unread_features.preprocessing_fn\n"
    )
    (tmp_path / "unread_features.py").write_text(FEATURES)
    (tmp_path / "a.csv").write_text("miles,gate,tip\n1,7,0\n2,8,1\n3,9,0\n4,7,1\n")
    schema = schema_pb2.Schema()
    for name in ("miles", "gate", "tip"):
        schema.feature.add(name=name, type=schema_pb2.INT).value_count.max = 1
    loader.save(schema, tmp_path / "schema.pbtxt")
    config = load(tmp_path)
    ingest(config, lambda record: None)
    (tmp_path / "b.csv").write_text("miles,gate,tip\n5,B7,0\n6,B8,1\n7,B9,0\n8,B7,1\n")
    assert 4 == ingest(config, lambda record: None)["rows"]
    rows = SpanStore(config.home_path).table(2, ["miles", "gate"])
    assert [5, 6, 7, 8] == rows["miles"].to_pylist()
    assert ["B7", "B8", "B9", "B7"] == rows["gate"].to_pylist()

"""Schemas: read, inferred, compared; and the flights' own schema against every week of the year."""

from pathlib import Path

import flight_events as flights
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from noria.components.statistics_gen.summarize import summarize
from noria.core.errors import ConfigError, DataError
from noria.pipeline.init.schema_inference import infer
from noria.schemas import loader
from noria.schemas.diff import diff, propose
from noria.schemas.list_columns import list_batches
from noria.schemas.tags import STABLE, VOLATILE, tagged

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights" / "schema.pbtxt"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return flights.table()


@pytest.fixture(scope="module")
def january(table) -> pa.Table:
    return table.slice(0, 12_000)


def _find(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    return next(feature for feature in schema.feature if feature.name == name)


def _statistics(table: pa.Table, schema: schema_pb2.Schema):
    return summarize(list_batches(table), tfdv.StatsOptions(schema=schema))


def test_no_ordinary_week_is_an_anomaly(table):
    """TFDV finds nothing to say against any of the 53 weeks of 2013, labelled rows only, in TRAINING."""
    schema = loader.load(FLIGHTS)
    table = table.filter(pc.is_valid(table["late"]))
    week = pc.floor(pc.divide(pc.add(table["time_hour"], 3 * 86_400), 604_800.0))
    found = {}
    for number in sorted(pc.unique(week).to_pylist()):
        statistics = _statistics(table.filter(pc.equal(week, number)), schema)
        for name, info in tfdv.validate_statistics(statistics, schema, "TRAINING").anomaly_info.items():
            found[number, name] = info.description
    assert {} == found


def test_flights_schema_describes_the_event_table(table):
    """Each column of the flights has its feature, and there is no other."""
    assert set(table.column_names) == {feature.name for feature in loader.load(FLIGHTS).feature}


def test_flights_serve_without_a_label(january):
    """The label is expected in TRAINING and not in SERVING."""
    schema = loader.load(FLIGHTS)
    unlabelled = _statistics(january.drop(["late"]), schema)
    assert {} == dict(tfdv.validate_statistics(unlabelled, schema, "SERVING").anomaly_info)
    assert {"late"} == set(tfdv.validate_statistics(unlabelled, schema, "TRAINING").anomaly_info)


def test_kilometres_are_out_of_range(january):
    """Honolulu is 4,983 miles away and 8,019 kilometres, beyond the schema's 6,000."""
    schema = loader.load(FLIGHTS)
    wrong = january.set_column(
        january.schema.get_field_index("distance"),
        "distance",
        pc.cast(pc.round(pc.multiply(january["distance"], 1.609344)), pa.int64()),
    )
    assert {"distance"} == set(tfdv.validate_statistics(_statistics(wrong, schema), schema).anomaly_info)


def test_tags():
    """Weather is volatile, the timetable stable, and nothing both."""
    schema = loader.load(FLIGHTS)
    assert {"temp", "pressure"} <= tagged(schema, VOLATILE)
    assert {"distance", "carrier"} <= tagged(schema, STABLE)
    assert set() == tagged(schema, STABLE) & tagged(schema, VOLATILE)


def test_save_and_load(tmp_path: Path):
    """A schema comes back as it was written, and its digest with it."""
    schema = loader.load(FLIGHTS)
    loader.save(schema, tmp_path / "a" / "schema.pbtxt")
    again = loader.load(tmp_path / "a" / "schema.pbtxt")
    assert schema == again
    assert loader.digest(schema) == loader.digest(again)
    assert ["schema.pbtxt"] == [path.name for path in (tmp_path / "a").iterdir()]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, ConfigError, "does not exist"),
        ("", ConfigError, "describes no feature"),
        ('feature { name: "a" } feature { name: "a" }', ConfigError, "twice: a"),
        ('feature {\n  name: "a"\n  typ: INT }', DataError, "3:3"),
        (b"\xff\xfe", DataError, "not UTF-8"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, text, error, message: str):
    """A missing, empty, doubled, misspelt or binary schema is an error that says so, with file and next step."""
    path = tmp_path / "schema.pbtxt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=message) as caught:
        loader.load(path)
    assert str(path) == caught.value.where
    assert caught.value.next_step


def test_a_column_that_begins_late_may_be_missing():
    """A column that the first half of a table does not have is not asked for; one with few gaps is."""
    late = [None] * 1_000 + [1.5] * 1_000
    table = pa.table({"late": late, "kept": [None, *[2.5] * 9] * 200, "label": [0, 1] * 1_000})
    schema = infer(table, "label")
    assert not _find(schema, "late").HasField("presence")
    assert 0.81 == pytest.approx(_find(schema, "kept").presence.min_fraction)


def test_infer(january):
    """The draft has environments, domains, presence with slack, comparators by kind, and nothing on key and time."""
    schema = infer(january, "late", "time_hour", ["flight", "tailnum"])
    assert ["TRAINING", "SERVING"] == list(schema.default_environment)
    label = _find(schema, "late")
    assert (["SERVING"], 0, 1) == (list(label.not_in_environment), label.int_domain.min, label.int_domain.max)
    carrier = _find(schema, "carrier")
    assert "carrier" == carrier.domain
    assert 0.1 == carrier.drift_comparator.infinity_norm.threshold
    distance = _find(schema, "distance")
    assert 0.2 == distance.drift_comparator.jensen_shannon_divergence.threshold
    assert distance.int_domain.min < 0 and distance.int_domain.max > 9_000
    assert 0.9 == pytest.approx(distance.presence.min_fraction)
    for name in ("time_hour", "tailnum", "flight"):
        feature = _find(schema, name)
        assert not feature.HasField("drift_comparator") and not feature.HasField("int_domain")
    assert {"carrier", "origin", "dest", "manufacturer"} == {domain.name for domain in schema.string_domain}


def test_inferred_schema_fits_its_data(january):
    """The draft accepts the rows it was made from, and the next ones."""
    schema = infer(january, "late", "time_hour", ["flight", "tailnum"])
    for rows in (january, flights.table().slice(12_000, 6_000)):
        statistics = _statistics(rows, schema)
        assert {} == dict(tfdv.validate_statistics(statistics, schema, "TRAINING").anomaly_info)


def test_infer_refuses_what_is_not_there(january):
    """No rows, or a label that is not a column, is a data error that names the columns."""
    with pytest.raises(DataError, match="no rows"):
        infer(january.slice(0, 0), "late")
    with pytest.raises(DataError, match="no column 'too_late'") as caught:
        infer(january, "too_late")
    assert "carrier" in caught.value.where


def test_infer_takes_booleans_and_empty_columns():
    """Booleans are 0 and 1; a column without any value is not an error."""
    table = pa.table({"y": [True, False] * 20, "x": pa.nulls(40, pa.float64()), "s": ["a", None] * 20})
    schema = infer(table, "y")
    assert schema_pb2.INT == _find(schema, "y").type
    assert {"y", "x", "s"} >= {feature.name for feature in schema.feature}


def test_diff_reads_like_a_change_log():
    """New and lost columns, types, values and ranges each have their line; equal schemas give no text."""
    old, new = loader.load(FLIGHTS), loader.load(FLIGHTS)
    assert "" == diff(old, new)
    new.feature.remove(_find(new, "seats"))
    new.feature.add(name="gate", type=schema_pb2.BYTES)
    _find(new, "distance").type = schema_pb2.FLOAT
    _find(new, "humid").presence.min_fraction = 0.3
    next(domain for domain in new.string_domain if domain.name == "carrier").value.append("WW")
    text = diff(old, new)
    for line in (
        "### `gate`\n- new column, BYTES",
        "### `seats`\n- column removed",
        "### `distance`\n- type: INT → FLOAT",
        "### `carrier`\n- domain gains 1: `WW`",
        "### `humid`\n- presence: min_fraction: 0.4 min_count: 1 → min_fraction: 0.3 min_count: 1",
    ):
        assert line in text


def test_propose_leaves_the_schema_alone(january):
    """A span with a new airline proposes its code; the schema in force does not change, nor do the comparators."""
    schema = loader.load(FLIGHTS)
    before = schema_pb2.Schema.FromString(schema.SerializeToString())
    carriers = pc.if_else(pc.equal(january["carrier"], "UA"), "WW", january["carrier"])
    wrong = january.set_column(january.schema.get_field_index("carrier"), "carrier", carriers)
    proposal = propose(schema, _statistics(wrong, schema))
    assert before == schema
    assert "domain gains 1: `WW`" in diff(schema, proposal)
    assert _find(schema, "carrier").drift_comparator == _find(proposal, "carrier").drift_comparator

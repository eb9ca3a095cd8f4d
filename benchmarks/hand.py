"""The pipeline's work as a script by hand, without TFX: how fast a warm run could be.

    python -m benchmarks.hand ROWS.parquet OUT [--state FOLDER] [--steps 300] < one line for each run

Reads the rows, makes features of them (vocabularies, z-scores), trains the same Wide & Deep on them with a plain loop,
scores the held-out rows overall and on each slice (AUC, log loss), and saves a SavedModel that takes tf.Examples,
with the state that the next run starts from. With `--state` it starts warm: from the weights, Adam's slots,
vocabularies and means of the run that wrote OUT before. For each line on standard input it runs once and prints a
JSON line: the seconds of each step, and the metrics. Imports are paid before that, and nothing of Noria is among them.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

keras = tf.keras

LABEL = "late"
NUMBERS = ("distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
GAPS = ("wind_gust", "plane_age", "seats")  # with a flag for those that are missing
CIRCLES = {"sched_dep_minutes": 24 * 60, "sched_arr_minutes": 24 * 60, "wind_dir": 360}
CATEGORIES = ("carrier", "origin", "dest", "hour", "weekday")
SLICES = ("origin", "carrier")
HIDDEN, BATCH, EVAL_SHARE = (128, 64), 256, 0.2


def read(path: str) -> dict[str, Any]:
    """The labelled rows, as Arrow columns."""
    columns = [*NUMBERS, *GAPS, *CIRCLES, *CATEGORIES, LABEL]
    table = pq.read_table(path, columns=columns)
    table = table.filter(pc.is_valid(table[LABEL])).combine_chunks()
    return {name: table[name].chunk(0) for name in columns}


def numbers_of(column: pa.Array) -> np.ndarray:
    """Float32, NaN where a value is missing."""
    return pc.cast(column, pa.float32()).to_numpy(zero_copy_only=False)


def analyze(rows: dict[str, Any], train: np.ndarray) -> dict[str, Any]:
    """Vocabularies by frequency, means and deviations, of the train rows."""
    known: dict[str, Any] = {"vocabularies": {}, "means": {}, "deviations": {}}
    for name in CATEGORIES:
        counts = pc.value_counts(pc.cast(rows[name], pa.string()).filter(pa.array(train)).drop_null())
        order = np.argsort(-counts.field("counts").to_numpy(), kind="stable")
        known["vocabularies"][name] = counts.field("values").take(pa.array(order)).to_pylist()
    for name in (*NUMBERS, *GAPS):
        values = numbers_of(rows[name])[train].astype(np.float64)
        known["means"][name] = float(np.nanmean(values))
        known["deviations"][name] = float(np.nanstd(values)) or 1.0
    return known


def features(rows: dict[str, Any], known: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers float32 `[rows, 20]` and ids int32 `[rows, 5]`."""
    columns = []
    for name in (*NUMBERS, *GAPS):
        value = numbers_of(rows[name])
        scaled = (value - known["means"][name]) / known["deviations"][name]
        columns.append(np.nan_to_num(scaled, nan=0.0))
        if name in GAPS:
            columns.append(np.isnan(value))
    for name, period in CIRCLES.items():
        angle = numbers_of(rows[name]) * (2 * np.pi / period)
        columns += [np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))]
    ids = []
    for name in CATEGORIES:
        words = known["vocabularies"][name]
        found = pc.index_in(pc.cast(rows[name], pa.string()), value_set=pa.array(words))
        ids.append(pc.fill_null(found, len(words)).to_numpy(zero_copy_only=False))
    return np.stack(columns, 1).astype(np.float32), np.stack(ids, 1).astype(np.int32)


def build(sizes: list[int], width: int) -> Any:
    """Wide & Deep: logits `[rows, 1]` of numbers and ids."""
    numeric = keras.Input((width,), dtype="float32")
    ids = keras.Input((len(sizes),), dtype="int32")
    deep, wide = [], [keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(numeric)]
    for i, size in enumerate(sizes):
        deep.append(keras.layers.Embedding(size, min(50, round(1.6 * size**0.56)))(ids[:, i]))
        wide.append(keras.layers.Embedding(size, 1, embeddings_initializer="zeros")(ids[:, i]))
    x = keras.layers.Concatenate()([*deep, numeric])
    for units in HIDDEN:
        x = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model([numeric, ids], keras.layers.Add()([keras.layers.Dense(1)(x), *wide]))


def fit(model: Any, optimizer: Any, data: tuple[Any, Any, Any], steps: int, seed: int) -> None:
    """Takes the steps, all in one call."""
    numeric, ids, labels = (tf.constant(part) for part in data)
    random = np.random.default_rng(seed)
    passes = -(-steps * BATCH // len(labels))
    order = np.concatenate([random.permutation(len(labels)) for _ in range(passes)])
    order = tf.constant(order[: steps * BATCH].reshape(steps, BATCH).astype(np.int32))

    @tf.function
    def loop() -> None:
        for i in tf.range(steps):
            rows = order[i]
            with tf.GradientTape() as tape:
                logits = model([tf.gather(numeric, rows), tf.gather(ids, rows)], training=True)[:, 0]
                losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.gather(labels, rows), logits)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)

    loop()


def score(
    model: Any, rows: dict[str, Any], data: tuple[Any, Any, Any], held: np.ndarray
) -> dict[str, dict[str, float]]:
    """AUC, log loss and number of rows, overall and by slice."""
    numeric, ids, labels = data
    scores = tf.sigmoid(model([numeric, ids]))[:, 0].numpy()
    parts = {"all": np.ones(len(labels), bool)}
    for name in SLICES:
        column = rows[name].filter(pa.array(held)).to_numpy(zero_copy_only=False)
        parts |= {f"{name}={value}": column == value for value in np.unique(column)}
    found = {}
    for name, part in parts.items():
        truth, guess = labels[part], scores[part]
        found[name] = {"rows": int(part.sum()), "log_loss": float(log_loss(truth, guess, labels=[0, 1]))}
        if 0 < truth.mean() < 1:
            found[name]["auc"] = float(roc_auc_score(truth, guess))
    return found


def save(model: Any, known: dict[str, Any], integers: set[str], folder: Path) -> None:
    """A SavedModel: serialized tf.Examples in, scores out, with the features of above once more as a graph."""
    module = tf.Module()
    module.model = model
    module.tables = [
        tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(words, np.arange(len(words), dtype=np.int32)), len(words)
        )
        for words in known["vocabularies"].values()
    ]
    kinds = {name: tf.float32 for name in (*NUMBERS, *GAPS, *CIRCLES)} | dict.fromkeys(CATEGORIES, tf.string)
    kinds |= dict.fromkeys(integers, tf.int64)
    spec = {name: tf.io.RaggedFeature(kind) for name, kind in kinds.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, spec)
        columns, ids = [], []
        for name in (*NUMBERS, *GAPS):
            value = tf.cast(parsed[name], tf.float32)
            scaled = (value - known["means"][name]) / known["deviations"][name]
            columns.append(scaled.to_tensor(0.0, shape=[None, 1]))
            if name in GAPS:
                columns.append(tf.cast(value.row_lengths() == 0, tf.float32)[:, None])
        for name, period in CIRCLES.items():
            angle = tf.cast(parsed[name], tf.float32) * (2 * np.pi / period)
            columns += [circle(angle).to_tensor(0.0, shape=[None, 1]) for circle in (tf.sin, tf.cos)]
        for name, table in zip(CATEGORIES, module.tables, strict=True):
            words = tf.strings.as_string(parsed[name]) if name in integers else parsed[name]
            ids.append(table.lookup(words.to_tensor("", shape=[None, 1])))
        return {"score": tf.sigmoid(model([tf.concat(columns, 1), tf.concat(ids, 1)]))}

    tf.saved_model.save(module, str(folder), {"serving_default": serve})


def run(rows_path: str, out: Path, state: Path | None, steps: int) -> dict[str, Any]:
    """One run; seconds of each step, and the metrics."""
    clock, seconds = time.perf_counter(), {}

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name], clock = time.perf_counter() - clock, time.perf_counter()

    rows = read(rows_path)
    held = np.random.default_rng(17).random(len(rows[LABEL])) < EVAL_SHARE
    lap("read")

    known = json.loads((state / "known.json").read_text()) if state else analyze(rows, ~held)
    numeric, ids = features(rows, known)
    labels = rows[LABEL].to_numpy(zero_copy_only=False).astype(np.float32)
    lap("transform")

    model = build([len(words) + 1 for words in known["vocabularies"].values()], numeric.shape[1])
    optimizer = keras.optimizers.Adam(1e-3, clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    if state:
        with np.load(state / "variables.npz") as kept:
            for i, variable in enumerate(variables):
                variable.assign(kept[f"v{i}"])
    fit(model, optimizer, (numeric[~held], ids[~held], labels[~held]), steps, seed=17)
    lap("train")

    metrics = score(model, rows, (numeric[held], ids[held], labels[held]), held)
    lap("evaluate")

    out.mkdir(parents=True, exist_ok=True)
    integers = {name for name in rows if pa.types.is_integer(rows[name].type)} - {LABEL}
    save(model, known, integers, out / "model")
    np.savez(out / "variables.npz", **{f"v{i}": variable.numpy() for i, variable in enumerate(variables)})
    (out / "known.json").write_text(json.dumps(known))
    lap("save")
    return {"seconds": seconds, "wall": sum(seconds.values()), "metrics": metrics, "rows": len(labels)}


def main() -> None:
    """Runs once for each line of standard input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows")
    parser.add_argument("out", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    assert keras.Model and keras.optimizers.Adam  # tf.keras is imported at its first use
    for _ in sys.stdin:
        print(json.dumps(run(given.rows, given.out, given.state, given.steps)), flush=True)


if __name__ == "__main__":
    main()

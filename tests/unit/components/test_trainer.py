"""The Trainer on real flights with real transform graphs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from noria.components.keras3 import ensure_keras3
from noria.core.errors import ConfigError, DataError, WarmStartError

tf = ensure_keras3()

import tensorflow_transform as tft
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from noria.components import warmup_requests
from noria.components.internals.tensorflow import make_callable
from noria.components.trainer import export, raw_columns
from noria.components.trainer.families import Family
from tests.helpers import training

SMALL = {
    "family": "wide_deep",
    "hidden_units": [16, 8],
    "batch_size": 64,
    "steps": 20,
    "early_stop": None,
    "tensorboard": False,
    "rescue_above": None,
}


@pytest.fixture(scope="module")
def week9(tmp_path_factory, bucketed) -> Path:
    """3,000 flights of a week in March, with their own graph: other means, and a longer vocabulary."""
    folder = tmp_path_factory.mktemp("week9")
    return training.lay_out(folder, 9, 9, 3000, "bucketed.preprocessing_fn", bucketed)


@pytest.fixture(scope="module")
def champion(week1, tmp_path_factory) -> Path:
    """A wide & deep model of week 1."""
    out = tmp_path_factory.mktemp("champion")
    return training.publish(training.train(week1, out, SMALL), week1 / "graph")


def records(data: Path, split: str = "eval") -> list[bytes]:
    files = sorted(str(file) for file in (data / "raw" / f"Split-{split}").iterdir())
    return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def scores(model: Path, examples: list[bytes], output: str = "score") -> np.ndarray:
    loaded = tf.saved_model.load(str(model / "Format-Serving"))
    return loaded.signatures["serving_default"](examples=tf.constant(examples))[output].numpy()


def probabilities(model: Path, examples: list[bytes]) -> np.ndarray:
    """The model's alone, without the base rate, which is that of other rows after a warm start."""
    return 1 / (1 + np.exp(-scores(model, examples, "logit")))


def meaning_kept(one: Path, other: Path, rows: list[bytes]) -> np.ndarray:
    """Which rows mean the same by both graphs: no entry that one of them lacks, and the same bucket."""
    from noria.components.trainer.model_inputs import read_features

    graphs = [tft.TFTransformOutput(str(data / "graph")) for data in (one, other)]
    ids = [transformed(graph, rows) for graph in graphs]
    keep = ids[0]["bucket"] == ids[1]["bucket"]
    for feature in read_features(graphs[0], training.LABEL).categorical:
        if feature.name != "bucket":
            known = [ids[i][feature.name] < graphs[i].vocabulary_size_by_name(feature.name) for i in (0, 1)]
            keep &= known[0] & known[1]
    assert keep.mean() > 0.5
    return keep


def transformed(graph: tft.TFTransformOutput, rows: list[bytes]) -> dict[str, np.ndarray]:
    """Columns by TFT's own layer."""
    spec = {name: kind for name, kind in graph.raw_feature_spec().items() if name != training.LABEL}
    columns = graph.transform_features_layer()(tf.io.parse_example(tf.constant(rows), spec))
    return {name: column.numpy() for name, column in columns.items()}


def report_of(model: Path) -> dict:
    return json.loads((model / "warm_start.json").read_text())


def how(entries: list[dict], name: str) -> str:
    return next(entry["how"] for entry in entries if entry["name"] == name)


@pytest.mark.parametrize("family", ["wide_deep", "dcn", "tabm"])
def test_two_halves_are_the_whole(family, week1, tmp_path):
    """N steps in one go and N/2 + publish + warm start + N/2 give the same weights and slots, bit for bit.

    Also where the second half runs in a new process.
    """
    fresh = family == "wide_deep"
    found = training.continuity(week1, tmp_path, {**SMALL, "family": family}, steps=30, fresh=fresh)
    assert {"variables": 0.0, "first": 0.0, "second": 0.0} == found
    report = report_of(tmp_path / "second")
    assert ("warm", "reused", 15, 30) == (
        report["mode"],
        report["transform"],
        report["start_step"],
        report["step"],
    )
    assert 30 * 64 == report["examples_seen"]
    assert {"copied"} == {entry["how"] for entry in report["variables"] + report["optimizer"]}


@pytest.mark.parametrize("limits", [{"memory_mb": 1, "cache": True}, {"memory_mb": 1, "cache": False}])
def test_windows_that_do_not_fit_in_memory(limits, week1, tmp_path, monkeypatch):
    """Mapped files give the batches of memory; a stream is continued where it stopped."""
    from noria.components.trainer import training_rows

    monkeypatch.setattr(training_rows, "GROWTH", 1e6)
    settings = {**SMALL, **limits, "shuffle_rows": 300}
    found = training.continuity(week1, tmp_path / "a", settings, steps=60, fresh=False)
    assert {"variables": 0.0, "first": 0.0, "second": 0.0} == found
    report = report_of(tmp_path / "a" / "whole")
    assert ("mapped" if limits["cache"] else "stream") == report["path"]
    if limits["cache"]:
        monkeypatch.undo()
        training.train(week1, tmp_path / "b", {**SMALL, "steps": 60})
        assert {
            "variables": 0.0,
            "first": 0.0,
            "second": 0.0,
        } == training.differences(tmp_path / "a" / "whole", tmp_path / "b")


def test_remap_keeps_predictions(week1, week9, champion, tmp_path):
    """After a refresh that reorders and grows vocabularies and moves means, the scores stay (1e-6)."""
    vocabularies = [tft.TFTransformOutput(str(data / "graph")) for data in (week1, week9)]
    old, new = (graph.vocabulary_by_name("dest") for graph in vocabularies)
    assert set(new) - set(old)  # it has grown
    assert [w for w in old if w in new] != [w for w in new if w in old]  # and been reordered

    model = training.train(week9, tmp_path, {**SMALL, "steps": 0}, champion=champion)
    report = report_of(model)
    assert "refreshed" == report["transform"]
    assert "vocabulary" == how(report["features"], "dest")
    assert "affine" == how(report["features"], "temp")
    assert "affine" == how(report["features"], "gust_filled")
    assert "new" == how(report["features"], "bucket")
    # No drop fell in the first week: to the champion, which saw a constant, all rows still look dry.
    assert {"precip": "the column was constant before"} == report["fresh_inputs"]
    assert "remapped" == how(report["variables"], "embeddings/embedding_dest")
    assert "remapped" == how(report["optimizer"], "m/wide/wide_dest")
    assert "remapped" == how(report["variables"], "deep_0/kernel")  # the rows of precip are 0
    assert "copied" == how(report["variables"], "deep_1/kernel")

    rows = records(week1) + records(week9)
    keep = meaning_kept(week1, week9, rows)
    before, after = probabilities(champion, rows), probabilities(model, rows)
    assert np.abs(before - after)[keep].max() <= 1e-6
    assert before.std() > 0.01  # and the scores say something


def test_remap_gives_new_entries_empty_slots(week1, week9, champion, tmp_path):
    """Adam's moments move with their entries; a new entry has none."""
    from noria.components.trainer import checkpoint

    training.train(week9, tmp_path, {**SMALL, "steps": 0}, champion=champion)
    saved = [checkpoint.load(folder / "checkpoint") for folder in (champion, tmp_path)]
    words = [tft.TFTransformOutput(str(data / "graph")).vocabulary_by_name("dest") for data in (week1, week9)]
    name = "wide/wide_dest"
    for kind in ("variables", "first", "second"):
        before, after = (getattr(one, kind)[name] for one in saved)
        for row, word in enumerate(words[1]):
            if word in words[0]:
                assert before[words[0].index(word)].tolist() == after[row].tolist()
            else:
                expected = before[len(words[0])] if kind == "variables" else np.zeros(1)
                assert expected.tolist() == after[row].tolist()


def test_second_refresh_composes(week1, week9, champion, tmp_path):
    """To the graph of March and back: the scores are still the first ones."""
    there = training.train(week9, tmp_path / "there", {**SMALL, "steps": 0}, champion=champion)
    training.publish(there, week9 / "graph")
    back = training.train(week1, tmp_path / "back", {**SMALL, "steps": 0}, champion=there)
    rows = records(week1)
    difference = np.abs(scores(champion, rows) - scores(back, rows))
    assert difference[meaning_kept(week1, week9, rows)].max() <= 1e-6


def test_warm_run_learns_on(week9, champion, tmp_path):
    """A warm run on another window takes the step on, keeps the best state and logs what it saw."""
    settings = {**SMALL, "steps": None, "early_stop": {"every": 10}, "tensorboard": True}
    model = training.train(week9, tmp_path, settings, champion=champion)
    report = report_of(model)
    assert 20 == report["start_step"]
    best = min(report["checks"], key=lambda check: check["loss"])
    assert best["step"] == report["step"] > 20
    assert best["loss"] < report["checks"][0]["loss"]
    assert list((tmp_path / "run" / "eval").glob("events*"))


def test_saved_model_loads_without_noria(week1, champion):
    """A process that imports TensorFlow only, isolated from the source, gets the same scores."""
    program = (
        "import sys, tensorflow as tf, json\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "rows = list(tf.data.TFRecordDataset(sys.argv[2], 'GZIP').take(50).as_numpy_iterator())\n"
        "out = loaded.signatures['serving_default'](examples=tf.constant(rows))\n"
        "assert not [m for m in sys.modules if m.startswith(('noria', 'tensorflow_transform'))]\n"
        "print(json.dumps(out['score'].numpy().tolist()))\n"
    )
    file = next((week1 / "raw" / "Split-eval").iterdir())
    command = [sys.executable, "-c", program, str(champion / "Format-Serving"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = scores(champion, records(week1)[:50])
    assert expected.tolist() == json.loads(done.stdout.splitlines()[-1])


def test_classify_is_on_the_same_tensors(week1, champion):
    """TF Serving's Classify has a signature with `inputs` and `scores`, which gives what `serving_default` gives."""
    rows = records(week1)[:20]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], str(champion / "Format-Serving"))
        signature = model.signature_def["classify"]
        found = session.run(signature.outputs["scores"].name, {signature.inputs["inputs"].name: rows})
    assert "tensorflow/serving/classify" == signature.method_name
    np.testing.assert_allclose(scores(champion, rows), found, rtol=1e-6)


def test_predict_takes_raw_columns(week1, champion):
    """A tensor for each column, `[batch]` or `[batch, 1]`, gives what the examples give; missing values have marks."""
    rows = records(week1)[:50]
    expected = scores(champion, rows)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], str(champion / "Format-Serving"))
        signature = model.signature_def["predict"]
        types = {name: tf.as_dtype(info.dtype).name for name, info in signature.inputs.items()}
        assert training.LABEL not in types
        dtypes = {"float32": np.float32, "int64": np.int64, "string": object}
        columns = warmup_requests._columns(rows, types)
        assert any(value != value for value in columns["wind_gust"])
        options = config_pb2.CallableOptions(
            feed=[signature.inputs[name].name for name in types], fetch=[signature.outputs["score"].name]
        )
        call = make_callable(session, options)  # as the server does: shapes are not checked
        for shape in ([-1], [-1, 1]):
            (found,) = call(*(np.array(columns[name], dtypes[types[name]]).reshape(shape) for name in types))
            np.testing.assert_allclose(expected, found, rtol=1e-6)


def test_predict_names_columns_as_people_do():
    """An argument cannot be `dep delay`, `class` or, for TensorFlow, `_id`; the inputs of the signature can."""
    names = ["1st", "_id", "class", "column_4", "dep delay", "größe", "plain", "self"]
    columns = raw_columns.RawColumns({name: tf.io.VarLenFeature(tf.float32) for name in names})
    assert sorted(columns.arguments.values()) == sorted(columns.input_specs())
    assert ("plain", "column_4", "column_4_", "column_1") == tuple(
        columns.arguments[name] for name in ("plain", "column_4", "dep delay", "_id")
    )
    signature = meta_graph_pb2.SignatureDef()
    for name, alias in columns.arguments.items():
        signature.inputs[alias].name = name
    export._rename(signature.inputs, columns.arguments)
    assert {name: name for name in names} == {key: info.name for key, info in signature.inputs.items()}


def test_the_champions_graph_with_new_weights_is_what_tracing_gives(week1, champion, tmp_path, monkeypatch):
    """A warm run over the same graph exports without tracing: the same tensors, fingerprint and scores."""
    fast = training.train(week1, tmp_path / "fast", SMALL, champion)
    monkeypatch.setattr(export, "_made_from", lambda *_: False)
    slow = training.train(week1, tmp_path / "slow", SMALL, champion)
    monkeypatch.undo()
    readers = [
        tf.train.load_checkpoint(str(out / "Format-Serving" / export.VARIABLES)) for out in (fast, slow)
    ]
    names = [sorted(reader.get_variable_to_shape_map()) for reader in readers]
    assert names[0] == names[1]
    for name in names[0]:
        if name.startswith("weights/"):
            np.testing.assert_array_equal(*(reader.get_tensor(name) for reader in readers))
    prints = [
        tf.saved_model.experimental.read_fingerprint(str(out / "Format-Serving")) for out in (fast, slow)
    ]
    assert prints[0].graph_def_program_hash == prints[1].graph_def_program_hash
    assert prints[0].signature_def_hash == prints[1].signature_def_hash
    rows = records(week1)
    np.testing.assert_array_equal(scores(fast, rows), scores(slow, rows))
    assert not np.array_equal(scores(fast, rows), scores(champion, rows))


def test_another_recipe_or_a_changed_graph_is_traced(week1, champion, tmp_path, caplog):
    """Other settings, or a saved_model.pb that is not the one that was written, are not built on."""

    def exported(settings: dict, base: Path) -> str:
        caplog.clear()
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        training.train(week1, out, settings, base)
        assert np.isfinite(scores(out, records(week1)[:5])).all()
        notes = [record.journal for record in caplog.records if hasattr(record, "journal")]
        return next(note["export"] for note in notes if "export" in note)

    caplog.set_level("INFO", logger="noria.journal")
    assert "champion's graph" == exported(SMALL, champion)
    assert "traced" == exported({**SMALL, "steps": 1}, champion)
    changed = shutil.copytree(champion, tmp_path / "changed")
    model = changed / "Format-Serving" / "saved_model.pb"
    model.write_bytes(model.read_bytes() + b"\x12\x00")
    assert "traced" == exported(SMALL, changed)


def test_a_kept_machine_trains_as_a_new_one(week1, champion, tmp_path):
    """In a resident process the second warm run traces nothing, and ends with the same weights and slots."""
    from noria.components.trainer import resident

    resident._machines.clear()
    new = training.train(week1, tmp_path / "new", SMALL, champion)
    [machine] = resident._machines.values()
    traces = machine.loop.run.experimental_get_tracing_count()
    used = training.train(week1, tmp_path / "used", SMALL, champion)
    assert [machine] == list(resident._machines.values())
    assert 1 == traces == machine.loop.run.experimental_get_tracing_count()
    assert {"variables": 0.0, "first": 0.0, "second": 0.0} == training.differences(new, used)
    training.train(week1, tmp_path / "cold", SMALL)
    assert [machine] != list(resident._machines.values())


def test_eval_split_of_one_class(week1, tmp_path):
    """Early stop on AUC goes by the loss where the eval split has one class only."""
    data = tmp_path / "data"
    shutil.copytree(week1, data)
    file = next((data / "transformed" / "Split-eval").iterdir())
    rows = list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())
    kept = [
        row
        for row in rows
        if not tf.train.Example.FromString(row).features.feature["late"].int64_list.value[0]
    ]
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for row in kept:
            writer.write(row)
    settings = {**SMALL, "early_stop": {"metric": "auc", "every": 10}}
    checks = report_of(training.train(data, tmp_path / "model", settings))["checks"]
    assert [10, 20] == [check["step"] for check in checks]
    assert not any("auc" in check for check in checks)


def test_transform_layer_is_tfts(week1, week9):
    """The graph applied without TFT's Keras layer gives, column by column, what the layer gives."""
    from noria.components.trainer.transform_layer import TransformLayer

    for data in (week1, week9):
        graph = tft.TFTransformOutput(str(data / "graph"))
        layer = TransformLayer(graph, training.LABEL)
        rows = records(data)
        found = layer(tf.constant(rows))
        expected = transformed(graph, rows)
        assert sorted(expected) == sorted(found)
        for name, column in expected.items():
            assert column.tolist() == found[name].numpy().tolist()


def test_serving_copes_with_missing_and_unknown(champion):
    """An empty example, and one with words nobody has seen, get a probability."""
    features = {"dest": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"???"]))}
    strange = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    found = scores(champion, [b"", strange])
    assert (2, 1) == found.shape
    assert ((found > 0) & (found < 1)).all()


def test_another_width_cannot_be_carried(week1, champion, tmp_path):
    """A layer of another width is an error that shows both shapes; resetting it is the way on."""
    with pytest.raises(WarmStartError, match=r"deep_0/kernel is \(\d+, 16\) .* and \(\d+, 12\)") as caught:
        training.train(week1, tmp_path, {**SMALL, "hidden_units": [12, 8]}, champion=champion)
    assert "cold" in caught.value.next_step
    assert "reset" in caught.value.next_step
    assert not (tmp_path / "checkpoint").exists()
    settings = {**SMALL, "hidden_units": [12, 8], "reset": ["deep_*"]}
    report = report_of(training.train(week1, tmp_path, settings, champion=champion))
    assert "new" == how(report["variables"], "deep_0/kernel")
    assert "copied" == how(report["variables"], "embeddings/embedding_dest")


def test_another_family_cannot_be_carried(week1, champion, tmp_path):
    """Weights of a wide & deep model mean nothing to a dcn."""
    with pytest.raises(WarmStartError, match="wide_deep.*dcn"):
        training.train(week1, tmp_path, {**SMALL, "family": "dcn"}, champion=champion)


class UserModel(Family):
    """A user's model: inputs by feature, batch normalization, dropout, layers without a name."""

    def build(self, features, settings):
        keras = tf.keras
        inputs = {name: keras.Input((1,), name=name) for name, _ in features.numeric}
        dest = next(feature for feature in features.categorical if feature.name == "dest")
        inputs["dest"] = keras.Input((1,), dtype="int32", name="dest")
        table = keras.layers.Flatten()(
            keras.layers.Embedding(dest.rows, dest.width, name="embedding_dest")(inputs["dest"])
        )
        x = keras.layers.Concatenate()([table, *(inputs[name] for name, _ in features.numeric)])
        hidden = keras.layers.Dense(8, activation="relu", name="hidden")
        x = keras.layers.BatchNormalization()(hidden(x))
        x = keras.layers.Dropout(0.3)(x)
        return keras.Model(inputs, keras.layers.Dense(1)(x))

    def numeric_rows(self, variable, shape, features):
        dest = next(feature for feature in features.categorical if feature.name == "dest")
        numbers = dest.width + np.arange(len(features.numeric))[:, None]
        return numbers if variable == "hidden/kernel" else None


@pytest.fixture
def user_settings(monkeypatch) -> dict:
    monkeypatch.setitem(sys.modules, "my_models", sys.modules[__name__])
    return {**SMALL, "family": "my_models.UserModel"}


def test_users_model_is_carried_whole(week1, week9, user_settings, tmp_path):
    """Moving averages and the state of dropout are copied too, and vocabularies are mapped."""
    found = training.continuity(week1, tmp_path, user_settings, steps=20, fresh=False)
    assert {"variables": 0.0, "first": 0.0, "second": 0.0} == found
    first = tmp_path / "first"
    names = [entry["name"] for entry in report_of(first)["variables"]]
    assert any("moving_mean" in name for name in names)
    assert any("seed_generator" in name for name in names)
    moved = training.train(week9, tmp_path / "moved", {**user_settings, "steps": 0}, champion=first)
    rows = records(week1)
    difference = np.abs(probabilities(first, rows) - probabilities(moved, rows))
    assert difference[meaning_kept(week1, week9, rows)].max() <= 1e-6


class Nameless(Family):
    """A user's model whose embedding does not say which feature it belongs to."""

    def build(self, features, settings):
        keras = tf.keras
        dest = next(feature for feature in features.categorical if feature.name == "dest")
        given = keras.Input((1,), dtype="int32", name="dest")
        table = keras.layers.Flatten()(keras.layers.Embedding(dest.rows, 4)(given))
        return keras.Model({"dest": given}, keras.layers.Dense(1)(table))


def test_vocabulary_nobody_follows_is_an_error(week1, week9, user_settings, tmp_path):
    """An embedding that is not known by its name cannot follow a refresh: that is an error, not a guess."""
    settings = {**user_settings, "family": "my_models.Nameless"}
    first = training.train(week1, tmp_path / "first", settings)
    training.publish(first, week1 / "graph")
    with pytest.raises(
        WarmStartError, match="the vocabulary of 'dest' has changed from (.|\\n)* embedding_dest"
    ):
        training.train(week9, tmp_path / "second", settings, champion=first)


class Wrong(Family):
    """A model with an input that is no feature."""

    def build(self, features, settings):
        given = tf.keras.Input((1,), name="tailnum")
        return tf.keras.Model(given, tf.keras.layers.Dense(1)(given))


def test_users_model_with_unknown_input(week1, user_settings, tmp_path):
    """An input that is no feature is refused with the features there are."""
    with pytest.raises(ConfigError, match=r"\['tailnum'\]; there are .*'dest'"):
        training.train(week1, tmp_path, {**user_settings, "family": "my_models.Wrong"})


def test_label_that_is_not_there(week1, tmp_path):
    """A label the transform graph does not give is refused with the names it gives."""
    with pytest.raises(ConfigError, match="'tardy'.*'late'"):
        training.train(week1, tmp_path, {**SMALL, "label": "tardy"})


def test_labels_out_of_range(week1, tmp_path):
    """Miles are no classes."""
    with pytest.raises(DataError, match="expected 0 or 1"):
        training.train(week1, tmp_path, {**SMALL, "label": "distance"})


def test_a_further_class_keeps_the_others(week1, tmp_path):
    """Before the first step the old classes answer as before, and the new one is as likely as its share of labels."""
    settings = {**SMALL, "task": "multiclass", "classes": 2}
    champion = training.publish(training.train(week1, tmp_path / "old", settings), week1 / "graph")
    model = training.train(week1, tmp_path / "new", {**settings, "classes": 3, "steps": 0}, champion=champion)
    rows = records(week1)
    logits = scores(model, rows, "logit")
    assert np.allclose(scores(champion, rows, "logit"), logits[:, :2], atol=1e-6)
    assert np.ptp(logits[:, 2]) < 1e-6 and scores(model, rows)[:, 2].max() < 0.01
    report = report_of(model)
    assert "remapped" == how(report["variables"], "noria/output_shift")
    assert any("0 for each new class" in entry["detail"] for entry in report["optimizer"])
    with pytest.raises(WarmStartError, match="noria run --cold"):
        training.train(week1, tmp_path / "fewer", {**settings, "task": "binary"}, champion=champion)


@pytest.mark.parametrize(("task", "label", "classes"), [("regression", "temp", 2), ("multiclass", "late", 3)])
def test_other_tasks(task, label, classes, week1, tmp_path):
    """Regression and multiclass train, and serve scores of their shape."""
    settings = {
        **SMALL,
        "task": task,
        "label": label,
        "classes": classes,
        "steps": 80,
        "early_stop": {"every": 10},
    }
    model = training.train(week1, tmp_path, settings)
    found = scores(model, records(week1))
    losses = [check["loss"] for check in report_of(model)["checks"]]
    assert min(losses) < losses[0]
    if task == "multiclass":
        assert (len(found), 3) == found.shape
        assert np.allclose(1, found.sum(1), atol=1e-6)
    else:
        assert (len(found), 1) == found.shape

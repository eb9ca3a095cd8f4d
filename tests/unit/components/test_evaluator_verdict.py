"""The gate's settings, its metrics and the verdict's maths, without TensorFlow."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from noria.components.evaluator import gate as gates
from noria.components.evaluator import model_verdict
from noria.components.evaluator.metric_contract import check_metric
from noria.components.evaluator.metrics import METRICS
from noria.components.evaluator.settings import LEAST_SKILL, Bound, EvaluatorSettings
from noria.core.errors import ConfigError, GateError
from noria.core.settings import read_json


def build(settings: dict, task: str = "binary", **context) -> gates.Gate:
    read = read_json(EvaluatorSettings, json.dumps(settings), "gates.model")
    return gates.build(read, task, **context)


def overall(champion: bool = True, **metrics: float) -> model_verdict.SliceMetrics:
    """All rows: a challenger as good as its champion, except in the given metrics."""
    base = {"auc": 0.7, "log_loss": 0.5, "skill": 0.1, "label_mean": 0.2, "example_count": 5000.0}
    return model_verdict.SliceMetrics({}, base | metrics, base if champion else None, 0.0, 0.001)


def compared(champion: dict[str, float], challenger: dict[str, float]) -> model_verdict.SliceMetrics:
    """All rows, with the metrics of both; the loss changes by the difference of the log losses."""
    rows = {"label_mean": 0.5, "example_count": 800.0}
    change = challenger["log_loss"] - champion["log_loss"]
    return model_verdict.SliceMetrics({}, challenger | rows, champion | rows, change, 0.02)


def part(rows: int, change: float, error: float) -> model_verdict.SliceMetrics:
    """A slice on which the champion's log loss is 0.5."""
    metrics = {"auc": 0.7, "log_loss": 0.5 + change, "example_count": float(rows)}
    return model_verdict.SliceMetrics({"carrier": "AA"}, metrics, metrics | {"log_loss": 0.5}, change, error)


def judge(*slices: model_verdict.SliceMetrics, ok: bool = True, champion: int | None = 3, **settings) -> dict:
    gate = build(settings, first_run=champion is None)
    return model_verdict.judge(gate, list(slices), validation_ok=ok, champion=champion)


@pytest.mark.parametrize(
    ("rows", "change", "error", "status", "blessed"),
    [
        (5000, 0.06, 0.002, "regressed", False),  # above 5 per cent of 0.5, and above 3 errors
        (5000, 0.02, 0.002, "ok", True),  # sure, but small
        (300, 0.06, 0.03, "ok", True),  # large, but two errors are bad luck
        (99, 0.60, 0.01, "too few", True),  # too few rows to judge by
        (300, 0.06, math.nan, "regressed", False),  # no error known: the size alone counts
        (300, math.nan, math.nan, "regressed", False),  # not a number never passes
    ],
)
def test_a_slice_regresses_only_if_the_rise_is_large_and_sure(rows, change, error, status, blessed):
    """Both conditions and the minimum of examples must hold."""
    judged = judge(overall(), part(rows, change, error))
    assert status == judged["slices"][0]["status"]
    assert blessed == judged["blessed"], judged["reasons"]


def test_every_check_is_listed_with_threshold_and_value():
    """Bounds on all rows and the rule on slices, each with what was allowed and what was."""
    judged = judge(overall(auc=0.68), part(5000, 0.06, 0.002), metrics={"auc": {"min": 0.6, "change": 0.01}})
    assert [
        ("auc", "all rows", "value", 0.6, 0.68, True),
        ("auc", "all rows", "change", -0.01, pytest.approx(-0.02), False),
        ("loss", "carrier=AA", "slice", 0.025, 0.06, False),
    ] == [
        tuple(check[key] for key in ("metric", "slice", "kind", "threshold", "value", "passed"))
        for check in judged["checks"]
    ]
    assert [
        "auc is 0.6800, 0.0200 worse than champion 3's 0.7000 (allowed: 0.01)",
        "carrier=AA got worse: the loss of its 5,000 rows rose by 0.0600 (standard error 0.0020), "
        "at most 0.0250 is allowed",
    ] == judged["reasons"]


def test_relative_changes_are_shares_of_the_champions_value():
    """0.02 allows a log loss 2 per cent higher and no more."""
    settings = {"metrics": {"log_loss": {"relative": 0.02}}}
    assert judge(overall(log_loss=0.509), **settings)["blessed"]
    refused = judge(overall(log_loss=0.511), **settings)
    assert ["log_loss is 0.5110, 2.2% worse than champion 3's 0.5000 (allowed: 2.0%)"] == refused["reasons"]


def test_without_a_threshold_nothing_is_blessed():
    """Fail closed: no bound, no blessing, and TFMA's own no is final."""
    assert "no threshold is set" in judge(overall(), metrics={})["reasons"][0]
    assert "TFMA's validation failed" in judge(overall(), ok=False)["reasons"][0]


def test_the_verdict_is_json_whatever_the_metrics():
    """Values that are not finite become null: JSON has no NaN."""
    judged = judge(overall(calibration=math.nan, auc=math.nan), part(300, math.nan, math.nan))
    assert not judged["blessed"]
    assert "auc is not defined on these rows: it needs rows of both classes" in judged["reasons"]
    assert judged["metrics"]["challenger"]["calibration"] is None
    json.dumps(judged, allow_nan=False)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": {}}, "did you mean 'metrics'?"),
        ({"metrics": {"AUC": {"min": 1}}}, "must be one of accuracy, auc, auc_precision_recall"),
        ({"metrics": {"acu": {"min": 1}}}, "got 'acu'; did you mean 'auc'?"),
        ({"metrics": {"auc": {"mni": 1}}}, "config key gates.model.metrics.auc.mni"),
        ({"metrics": {"auc": {"min": "high"}}}, "got 'high'"),
        ({"metrics": {"auc": {"change": -0.1}}}, "greater than or equal to 0, got -0.1"),
        ({"metrics": {"auc": {"min": 0.9, "max": 0.1}}}, "must have a min of at most max, got 0.9 and 0.1"),
        ({"metrics": {"auc": {}}}, "must set at least one of min, max, change, relative"),
        ({"metrics": {"auc": {"min": None}}}, "must set at least one of min, max, change, relative"),
        ({"first_run": "blessed"}, "'thresholds', 'bless' or 'refuse', got 'blessed'"),
        ({"min_examples": 0}, "greater than or equal to 1, got 0"),
        ({"slice_change": -1}, "greater than or equal to 0, got -1"),
        ([], "config key gates.model"),
    ],
)
def test_bad_settings_are_refused(settings, said):
    """What was wrong and where, what was expected, and the name that was probably meant."""
    with pytest.raises(ConfigError) as error:
        read_json(EvaluatorSettings, json.dumps(settings), "gates.model")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("settings", "task", "said"),
    [
        ({"metrics": {"calibration": {"change": 1}}}, "binary", "has no better direction"),
        ({"metrics": {"auc": {"min": 1}}}, "regression", "auc is not a metric of the task regression"),
        ({}, "binry", "did you mean 'binary'?"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(settings, task, said):
    """A metric of another task, a change of a metric that has no better side, and an unknown task."""
    with pytest.raises(GateError) as error:
        build(settings, task)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("task", "name"), [("binary", "skill"), ("multiclass", "skill"), ("regression", "r2")]
)
def test_defaults_keep_out_what_is_worse_than_a_guess(task, name):
    """The first version must be as good as the guess; a later one that is clearly worse raises an alarm."""
    assert 0.0 == build({}, task, first_run=True).bounds[name].min
    assert LEAST_SKILL == build({}, task).bounds[name].min < 0
    assert all(bound.min is bound.max is None for key, bound in build({}, task).bounds.items() if key != name)


@pytest.mark.parametrize(
    ("task", "name", "bound"),
    [("binary", "auc", "change"), ("multiclass", "accuracy", "change"), ("regression", "mae", "relative")],
)
def test_default_bounds_allow_what_chance_gives_few_rows(task, name, bound):
    """A quarter of the rows that a default was measured on: twice the bound. More rows, or none known: the default.

    What people have set holds whatever the rows.
    """
    usual = getattr(build({}, task).bounds[name], bound)
    for rows, expected in ((315, 2 * usual), (1_260, usual), (100_000, usual), (None, usual)):
        assert expected == getattr(build({}, task, rows=rows).bounds[name], bound)
    own = {"metrics": {name: {bound: 0.01}}}
    assert build(own, task).bounds == build(own, task, rows=315).bounds
    assert build({}, task).bounds.keys() == build({}, task, rows=315).bounds.keys()


def test_a_bound_never_keeps_a_worse_champion():
    """Of two models that both fail, the one with the lower loss serves, with an alarm, even if other bounds fail."""
    broken = {"auc": 0.60, "log_loss": 1.50, "skill": -1.17}
    judged = judge(compared(broken, {"auc": 0.45, "log_loss": 0.76, "skill": -0.10}), ok=False)
    assert judged["blessed"]
    assert judged["rescued"]
    assert "its skill is -1.1700, it must be at least -0.05" in judged["reasons"][0]
    assert "800 rows is 0.7400 lower (standard error 0.0200)" in judged["reasons"][1]
    assert ["the challenger is published, and skill is -0.1000, it must be at least -0.05"] == judged[
        "alarms"
    ]


def test_a_worse_challenger_does_not_replace_a_failing_champion():
    """The least bad model serves: the champion stays, and the alarm names it."""
    broken = {"auc": 0.60, "log_loss": 0.80, "skill": -0.16}
    judged = judge(compared(broken, {"auc": 0.60, "log_loss": 0.90, "skill": -0.30}), ok=False)
    assert not judged["blessed"]
    assert ["champion 3 still serves, and its skill is -0.1600, it must be at least -0.05"] == judged[
        "alarms"
    ]


def test_a_good_champion_is_replaced_by_the_bounds_only():
    """A lower loss does not excuse what a bound forbids while the champion meets all of its bounds."""
    good = {"auc": 0.70, "log_loss": 0.60, "skill": 0.13}
    judged = judge(compared(good, {"auc": 0.60, "log_loss": 0.59, "skill": 0.14}), ok=False)
    assert (False, False, []) == (judged["blessed"], judged["rescued"], judged["alarms"])


def test_skill_is_the_share_of_a_guesss_loss_that_a_model_saves():
    """The classes' shares as the answer have a skill of 0, and a single class has none."""
    labels = np.array([0.0, 0.0, 0.0, 1.0])
    skill = METRICS.find("skill")()
    assert 0 == pytest.approx(skill.compute(labels, np.full(4, 0.25), "binary"), abs=1e-6)
    shares = np.tile([0.75, 0.25, 0.0], (4, 1)).astype(np.float32)
    assert 0 == pytest.approx(skill.compute(labels, shares, "multiclass"), abs=1e-6)
    assert 1 == pytest.approx(skill.compute(labels, labels, "binary"), abs=1e-6)
    assert math.isnan(skill.compute(np.zeros(4), np.full(4, 0.25), "binary"))


def test_a_config_with_nulls_takes_the_defaults():
    """The project's config writes every key; null bounds are not bounds."""
    settings = {
        "metrics": {"auc": {"min": 0.6, "max": None, "change": None}},
        "slices": ["origin", ["origin", "carrier"]],
        "slice_change": None,
        "min_examples": 50,
        "first_run": "bless",
    }
    gate = build(settings)
    assert Bound(min=0.6) == gate.bounds["auc"]
    assert [["origin"], ["origin", "carrier"]] == gate.slices
    read = gate.settings
    assert (None, 50, "bless") == (read.slice_change, read.min_examples, read.first_run)
    assert read == read_json(EvaluatorSettings, read.model_dump_json(), "gates.model")


@pytest.mark.parametrize("name", METRICS.names())
def test_contract(name):
    """Every metric is a number or says what it needs, in any order of the rows, and has a better side."""
    check_metric(METRICS.find(name))


def test_the_contract_finds_faults():
    """A metric whose better side is the wrong one is refused with both numbers."""

    class Upside(METRICS.find("mae")):
        better = "higher"

    with pytest.raises(AssertionError, match="perfect predictions must be better, got 0.0 after"):
        check_metric(Upside)


def test_the_auc_of_rare_events_is_exact():
    """Where one row in 500 is positive and all scores are small, AUC is scikit-learn's, and ties count half."""
    random = np.random.default_rng(8)
    signal = random.normal(size=40_000)
    labels = (random.random(40_000) < 1 / (1 + np.exp(8.6 - 2.2 * signal))).astype(float)
    scores = (0.03 / (1 + np.exp(4 - signal))).astype(np.float32).astype(float)
    for decimals in (12, 4):
        rounded = scores.round(decimals)
        exact = sklearn_metrics.roc_auc_score(labels, rounded)
        assert exact == pytest.approx(METRICS.find("auc")().compute(labels, rounded, "binary"), abs=1e-12)


def test_precision_and_recall_of_few_ties_are_scikit_learns():
    """With 2,000 distinct scores the interpolated area is the average precision within 0.002."""
    random = np.random.default_rng(1)
    labels = (random.random(2000) < 0.3).astype(float)
    scores = labels + random.normal(size=2000)
    exact = sklearn_metrics.average_precision_score(labels, scores)
    ours = METRICS.find("auc_precision_recall")().compute(labels, scores, "binary")
    assert exact == pytest.approx(ours, abs=0.002)

"""The gate's settings, its metrics and the verdict's maths, without TensorFlow."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from noria.components.evaluator import gate as gates
from noria.components.evaluator import model_verdict
from noria.components.evaluator.contract import check_metric
from noria.components.evaluator.metrics import METRICS
from noria.components.evaluator.settings import Bound, EvaluatorSettings
from noria.core.errors import ConfigError, GateError
from noria.core.settings import read_json


def build(settings: dict, task: str = "binary", **context) -> gates.Gate:
    read = read_json(EvaluatorSettings, json.dumps(settings), "gates.model")
    return gates.build(read, task, **context)


def overall(champion: bool = True, **metrics: float) -> model_verdict.SliceMetrics:
    """All rows: a challenger as good as its champion, but for the metrics given."""
    base = {"auc": 0.7, "log_loss": 0.5, "label_mean": 0.2, "example_count": 5000.0}
    return model_verdict.SliceMetrics({}, base | metrics, base if champion else None, 0.0, 0.001)


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
        ({"metrics": {"calibration": {"change": 1}}}, "binary", "neither better high nor low"),
        ({"metrics": {"auc": {"min": 1}}}, "regression", "auc is no metric of the task regression"),
        ({}, "binry", "did you mean 'binary'?"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(settings, task, said):
    """A metric of another task, a change of a metric that has no better side, and an unknown task."""
    with pytest.raises(GateError) as error:
        build(settings, task)
    assert said in str(error.value)


def test_defaults_keep_out_what_is_no_better_than_a_guess():
    """A coin for two classes, equal odds for more, the mean for numbers (on the first run only)."""
    assert 0.5 == build({}).bounds["auc"].min
    assert math.log(4) == build({}, "multiclass", classes=4).bounds["log_loss"].max
    assert 0.0 == build({}, "regression", first_run=True).bounds["r2"].min
    assert "r2" not in build({}, "regression").bounds


def test_a_config_with_nulls_takes_the_defaults():
    """The project's config writes every key; null bounds are no bounds."""
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
    """Every metric is a number or says what it needs, whatever the order of the rows, and has its better side."""
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

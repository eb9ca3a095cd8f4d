"""The gate's settings and the verdict's maths, without TensorFlow."""

import json
import math

import pytest

from noria.components.evaluator import gate as gates
from noria.components.evaluator import model_verdict
from noria.core.errors import GateError


def overall(champion: bool = True, **metrics: float) -> model_verdict.SliceMetrics:
    """All rows: a challenger as good as its champion, but for the metrics given."""
    base = {"auc": 0.7, "log_loss": 0.5, "label_mean": 0.2, "example_count": 5000.0}
    return model_verdict.SliceMetrics({}, base | metrics, base if champion else None, 0.0, 0.001)


def part(rows: int, change: float, error: float) -> model_verdict.SliceMetrics:
    """A slice on which the champion's log loss is 0.5."""
    metrics = {"auc": 0.7, "log_loss": 0.5 + change, "example_count": float(rows)}
    return model_verdict.SliceMetrics({"carrier": "AA"}, metrics, metrics | {"log_loss": 0.5}, change, error)


def judge(*slices: model_verdict.SliceMetrics, ok: bool = True, champion: int | None = 3, **settings) -> dict:
    gate = gates.from_json(json.dumps(settings), "binary", first_run=champion is None)
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
    assert "auc is not a number on these rows" in judged["reasons"]
    assert judged["metrics"]["challenger"]["calibration"] is None
    json.dumps(judged, allow_nan=False)


@pytest.mark.parametrize(
    ("settings", "task", "said"),
    [
        ({"metric": {}}, "binary", "unknown key 'metric'; did you mean 'metrics'?"),
        ({"metrics": {"AUC": {"min": 1}}}, "binary", "unknown metric 'AUC'"),
        ({"metrics": {"auc": {"mni": 1}}}, "binary", "unknown key 'mni'; did you mean 'min'?"),
        ({"metrics": {"auc": {"min": "high"}}}, "binary", "must be a number, got 'high'"),
        ({"metrics": {"auc": {"change": -0.1}}}, "binary", "change is how much worse it may be"),
        (
            {"metrics": {"auc": {"min": 0.9, "max": 0.1}}},
            "binary",
            "min must be at most max, got 0.9 and 0.1",
        ),
        ({"metrics": {"auc": {}}}, "binary", "needs at least one of min, max, change, relative"),
        ({"metrics": {"calibration": {"change": 1}}}, "binary", "neither better high nor low"),
        ({"metrics": {"auc": {"min": 1}}}, "regression", "unknown metric 'auc' for the task regression"),
        ({"first_run": "blessed"}, "binary", "did you mean 'bless'?"),
        ({"min_examples": 0}, "binary", "must be a whole number of at least 1, got 0"),
        ({"slice_change": -1}, "binary", "must be a number of at least 0, got -1"),
        ([], "binary", "must be a mapping"),
        ({}, "binry", "did you mean 'binary'?"),
    ],
)
def test_bad_settings_are_refused_with_the_nearest_name(settings, task, said):
    """What was wrong, what was expected, and the name that was probably meant."""
    with pytest.raises(GateError) as error:
        gates.from_json(json.dumps(settings), task)
    assert said in str(error.value)


def test_defaults_keep_out_what_is_no_better_than_a_guess():
    """A coin for two classes, equal odds for more, the mean for numbers (on the first run only)."""
    assert 0.5 == gates.from_json("", "binary").metrics["auc"].min
    assert math.log(4) == gates.from_json("{}", "multiclass", classes=4).metrics["log_loss"].max
    assert 0.0 == gates.from_json("", "regression", first_run=True).metrics["r2"].min
    assert "r2" not in gates.from_json("", "regression").metrics


def test_a_config_with_nulls_takes_the_defaults():
    """The project's config writes every key; null bounds are no bounds."""
    text = json.dumps(
        {
            "metrics": {"auc": {"min": 0.6, "max": None, "change": None}},
            "slices": ["origin", ["origin", "carrier"]],
            "slice_change": None,
            "min_examples": 50,
            "first_run": "bless",
        }
    )
    gate = gates.from_json(text, "binary")
    assert gates.Bound(min=0.6) == gate.metrics["auc"]
    assert (("origin",), ("origin", "carrier")) == gate.slices
    assert (None, 50, "bless") == (gate.slice_change, gate.min_examples, gate.first_run)

"""DataGate's checks one by one, on statistics that TFDV made and on plain numbers."""

import collections
import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from noria.components import gate_statistics
from noria.components.association import associate
from noria.components.data_gate import (
    anomalies,
    binning,
    column_checks,
    history,
    label_checks,
    significance,
    unit_checks,
)
from noria.components.data_gate.compare import compare, measures_of
from noria.components.data_gate.history import Past
from noria.components.data_gate.measure_contract import check_measure
from noria.components.data_gate.measures import MEASURES, psi
from noria.components.data_gate.settings import DataGateSettings, LabelRate, Volume
from noria.components.statistics_cache import fingerprint
from noria.components.statistics_gen.in_process import options
from noria.components.statistics_gen.summarize import summarize
from noria.core.errors import ConfigError
from noria.core.settings import read_json
from noria.pipeline.init.schema_inference import infer
from noria.schemas.list_columns import list_batches

HOUR, WEEK = 3600, 604_800


def _severities(tests) -> list[str]:
    """Of the findings of tests, corrected together."""
    return [found.severity for found in significance.conclude(tests, 0.001)]


MONDAY = 4 * 86_400  # 1970-01-05


def _table(rows: int = 4000, seed: int = 0, **columns) -> pa.Table:
    random = np.random.default_rng(seed)
    group = random.choice(["a", "b", "c"], rows, p=[0.5, 0.3, 0.2])
    x = random.normal(size=rows)
    columns = {
        "y": (random.random(rows) < 1 / (1 + np.exp(1 - x))).astype(int),
        "x": x,
        "rain": np.where(random.random(rows) < 0.9, 0.0, random.exponential(size=rows)),
        "group": group,
        "twin": np.where(random.random(rows) < 0.9, group, "a"),
    } | columns
    return pa.table(columns)


def _schema(**tags) -> schema_pb2.Schema:
    schema = infer(_table(), "y")
    for feature in schema.feature:
        if feature.name in tags:
            feature.annotation.tag.append(tags[feature.name])
    return schema


SCHEMA = _schema()


def _statistics(table: pa.Table, schema: schema_pb2.Schema = SCHEMA):
    return summarize(list_batches(table), options(schema, "y", "binary"))


def _features(table: pa.Table) -> dict:
    return {feature.path.step[0]: feature for feature in _statistics(table).datasets[0].features}


REFERENCE = _table(seed=1)
WAS = _features(REFERENCE)
PSI = psi.PopulationStability()


def test_psi_of_the_rows_themselves():
    """PSI from TFDV's histograms is within a hundredth of PSI computed from the rows at the same deciles."""
    table = _table(seed=2, x=np.random.default_rng(3).normal(0.5, 1.3, 4000))
    bins = binning.by_reference(_features(table)["x"], WAS["x"])
    edges = np.quantile(REFERENCE["x"].to_numpy(), np.linspace(0, 1, 11))[1:-1]
    exact = [
        np.bincount(np.digitize(rows["x"].to_numpy(), edges), minlength=10) for rows in (table, REFERENCE)
    ]
    assert PSI.value(*exact) == pytest.approx(PSI.value(bins.current, bins.reference), abs=0.01)
    assert 11 == len(bins.names)
    assert "missing" == bins.names[-1]


def test_a_point_is_a_bin_of_its_own():
    """Nine rows of ten without rain are one bin, and the rest of the deciles share the others."""
    bins = binning.by_reference(WAS["rain"], WAS["rain"])
    zero = bins.names.index("0")
    assert 0.9 == pytest.approx(bins.reference[zero] / bins.reference.sum(), abs=0.03)
    assert 0.0 == PSI.value(bins.current, bins.reference)
    assert len(REFERENCE) == pytest.approx(bins.reference.sum())


def test_missing_values_are_a_bin():
    """A column that loses half of its values drifts, although the values that are left do not."""
    x = np.where(np.arange(4000) % 2 == 0, REFERENCE["x"].to_numpy(), np.nan)
    bins = binning.by_reference(_features(_table(x=x))["x"], WAS["x"])
    assert [0.0, 2000.0] == [bins.reference[-1], bins.current[-1]]
    assert PSI.value(bins.current, bins.reference) > 1
    assert "missing 0.0% → 50.0%" in bins.largest()


def test_new_categories_are_other():
    """What the reference has not seen falls into `other`."""
    group = np.where(np.arange(4000) < 400, "new", REFERENCE["group"].to_pandas())
    bins = binning.by_reference(_features(_table(group=group))["group"], WAS["group"])
    assert ("a", "b", "c", "other", "missing") == bins.names
    assert [0.0, 400.0] == [bins.reference[3], bins.current[3]]


def test_chance_alone_stays_below_the_noise():
    """Of 300 pairs of samples of one distribution, at most two have a PSI above the bound for one in a thousand."""
    random = np.random.default_rng(5)
    above = 0
    for _ in range(300):
        left, right = (random.multinomial(200, [0.1] * 10) for _ in range(2))
        above += PSI.value(left, right) > PSI.chance(200, 200, 10)
    assert above <= 2


def _compare(table, schema=SCHEMA, project=None, **settings):
    before = _statistics(REFERENCE, schema)
    read = DataGateSettings(**settings)
    measures = measures_of(read, project)
    drifts, findings, tests = compare(
        _statistics(table, schema), before, "span 1", schema, read, measures, {"y"}
    )
    return drifts, significance.conclude(tests, read.false_discovery) + findings


def test_the_same_distribution_does_not_drift():
    """Another sample of the same rows gives measurements and no finding."""
    drifts, findings = _compare(_table(seed=9))
    assert [] == findings
    assert {("group", "linf"), ("x", "js"), ("x", "psi"), ("group", "kl")} <= {
        (found.feature, found.measure) for found in drifts
    }


def test_l_infinity_is_never_asked_of_a_number():
    """TFDV answers 0 there; a number that doubled is seen by Jensen-Shannon and PSI instead."""
    drifts, findings = _compare(_table(x=np.random.default_rng(0).normal(3, 1, 4000)))
    of_x = {found.measure: found for found in drifts if found.feature == "x"}
    assert {"js", "kl", "psi"} == set(of_x)
    assert of_x["js"].drifted and of_x["psi"].drifted
    assert not of_x["kl"].drifted and of_x["kl"].threshold is None
    assert "drifted" == findings[0].severity


def test_tags_decide_what_a_shift_means():
    """The same shift is broken for a stable feature, drifted for a plain one, and only reported for a volatile one."""
    table = _table(rain=np.random.default_rng(0).normal(50, 1, 4000))
    severities = {}
    for tag in ("stable", "plain", "volatile"):
        schema = _schema(rain=tag)
        for feature in schema.feature:
            feature.ClearField("drift_comparator")
        drifts, findings = _compare(table, schema)
        severities[tag] = {found.severity for found in findings}
        assert any(found.feature == "rain" and found.value > 1 for found in drifts)
    assert {"stable": {"broken", "drifted"}, "plain": {"drifted"}, "volatile": set()} == severities


def test_a_threshold_of_ones_own():
    """The config's threshold for one feature goes before all others."""
    table = _table(x=np.random.default_rng(0).normal(3, 1, 4000))
    _, findings = _compare(table, features={"x": {"js": 1.0, "psi": 99.0}})
    assert [] == findings


@pytest.mark.parametrize(
    ("change", "severity", "word"),
    [
        ({"x": ["text"] * 4000}, "broken", "x: Expected data of type: FLOAT"),
        ({"group": ["z"] * 4000}, "broken", "missing from the schema"),
        ({"x": np.where(np.arange(4000) < 40, 1e6, 0.5)}, "broken", "1.00% of the values"),
        ({"x": np.where(np.arange(4000) < 2, 1e6, 0.5)}, "ok", "0.05% of the values"),
        ({"new": np.ones(4000)}, "ok", "New column"),
    ],
)
def test_anomalies(change, severity: str, word: str):
    """Types, unknown categories and values far out are broken; two outliers and a new column are reported and pass."""
    found, findings = anomalies.validate(_statistics(_table(**change)), SCHEMA, DataGateSettings())
    assert {severity} == {finding.severity for finding in findings}
    assert word in findings[0].text
    assert {"error" if severity == "broken" else "warning"} == {anomaly.severity for anomaly in found}


@pytest.mark.parametrize("part", [1, 2, 3])
def test_anomalies_of_parts_are_those_of_the_whole(part: int, monkeypatch):
    """TFDV finds the same in a part of the features after the other: its time grows with their square."""
    broken = {
        "x": pa.nulls(4000, pa.float64()),
        "group": np.full(4000, "elsewhere"),
        "extra": np.ones(4000),
    }
    statistics = _statistics(_table(**broken).drop(["rain"]))
    for given, asked in ((statistics, SCHEMA), (_statistics(_table()), SCHEMA)):
        whole = tfdv.validate_statistics(given, asked)
        monkeypatch.setattr(anomalies, "_PART", part)
        found = anomalies._validated(given, asked)
        assert dict(whole.anomaly_info) == dict(found.anomaly_info)
        assert whole.dataset_anomaly_info == found.dataset_anomaly_info
        assert whole.data_missing == found.data_missing
    assert {"extra", "group", "rain", "x"} <= {*anomalies._validated(statistics, SCHEMA).anomaly_info}


def test_new_categories_are_no_error():
    """A value of a tenth of the rows that nobody knew has drifted; once a reference has it, it is ok."""
    opened = _table(group=np.where(np.arange(4000) % 10 == 0, "new", "b"))
    for references, expected in (((), {"drifted"}), ((_statistics(opened),), {"ok"})):
        _, findings = anomalies.validate(_statistics(opened), SCHEMA, DataGateSettings(), references)
        assert expected == {found.severity for found in findings if found.feature == "group"}


def _weeks(count: int, rows: int = 6000) -> list[Past]:
    return [
        Past(n, rows + n, (MONDAY + n * WEEK, MONDAY + n * WEEK + WEEK - HOUR)) for n in range(1, count + 1)
    ]


def test_volume_is_rows_per_hour():
    """Half the rows are broken, two days' rows in two days are not, a doubled stream has only drifted."""
    start = MONDAY + 9 * WEEK
    week, two_days = (start, start + WEEK - HOUR), (start, start + 48 * HOUR - HOUR)
    results = {}
    for name, span in {
        "half": Past(9, 3000, week),
        "partial": Past(9, 1714, two_days),
        "some": Past(9, 4500, week),
        "ordinary": Past(9, 5600, week),
        "double": Past(9, 13_000, week),
    }.items():
        results[name] = _severities(history.check_volume(span, _weeks(8), "week", Volume())[0])
    assert {
        "half": ["broken"],
        "partial": [],
        "some": ["drifted"],
        "ordinary": [],
        "double": ["drifted"],
    } == results


def test_volume_knows_a_streams_own_spread():
    """Where spans differ threefold anyway, half of the median has only drifted."""
    past = [
        Past(n, rows, (MONDAY + n * WEEK, MONDAY + n * WEEK + WEEK - HOUR))
        for n, rows in enumerate([3000, 9000, 5000, 8000, 2900, 6000], 1)
    ]
    span = Past(9, 2700, (MONDAY + 9 * WEEK, MONDAY + 10 * WEEK - HOUR))
    assert "broken" not in _severities(history.check_volume(span, past, "week", Volume())[0])


def test_volume_without_anything_to_compare():
    """The first span, spans of N rows, and a check that is switched off find nothing."""
    assert [] == history.check_volume(Past(1, 10, None), [], "week", Volume())[0]
    assert [] == history.check_volume(Past(2, 10, None), [Past(1, 100, None)], "rows:100", Volume())[0]
    assert [] == history.check_volume(Past(2, 10, None), [Past(1, 100, None)], "week", None)[0]


@pytest.mark.parametrize(
    ("start", "end", "every", "expected"),
    [
        (0, WEEK - HOUR, "week", []),
        (86_400, WEEK - HOUR + 86_400, "week", ["broken", "broken"]),  # the calendar, and the cadence
        (86_400, WEEK - HOUR + 86_400, "", ["broken"]),  # the cadence alone
        (-WEEK, -HOUR, "week", ["broken", "broken"]),  # a replay, which is off the cadence, too
        (86_400, WEEK - HOUR, "week", ["broken"]),  # the first day is missing
        (12 * HOUR, WEEK - HOUR, "week", ["drifted"]),  # a late start
        (0, 2 * 86_400, "week", ["drifted"]),  # an early end
    ],
)
def test_time(start: int, end: int, every: str, expected: list[str]):
    """Shifted and replayed weeks are broken; partial ones have drifted; an ordinary one passes."""
    base = MONDAY + 9 * WEEK
    findings = history.check_time(
        Past(9, 6000, (base + start, base + end)), _weeks(8), every, DataGateSettings()
    )
    assert expected == [found.severity for found in findings]


def test_a_late_start_that_may_be_chance_is_no_loss():
    """A sparse stream, one whose starts scatter, and a threshold switched off: the span has drifted, not more."""
    base = MONDAY + 9 * WEEK
    late = Past(9, 100, (base + 86_400, base + WEEK - HOUR))
    sparse = [Past(past.span, 100, past.event_time) for past in _weeks(8)]
    scattered = [
        Past(past.span, past.rows, (past.event_time[0] + past.span % 2 * 20 * HOUR, past.event_time[1]))
        for past in _weeks(8)
    ]
    nights = [
        Past(
            past.span, past.rows, (past.event_time[0] + (past.span % 4 == 0) * 13 * HOUR, past.event_time[1])
        )
        for past in _weeks(8)
    ]
    for past, thresholds in (
        (sparse, DataGateSettings()),
        (nights, DataGateSettings()),
        (scattered, DataGateSettings()),
        (_weeks(8), DataGateSettings(late_start=None)),
    ):
        found = history.check_time(late, past, "week", thresholds)
        assert [] == [one for one in found if one.severity == "broken"]


@pytest.mark.parametrize(
    ("rows", "start", "end", "expected"),
    [
        (1000, 0, 9, []),
        (990, 1, 9, []),  # times are whole seconds
        (500, 5, 9, ["drifted", "broken"]),
        (1000, 6, 14, ["broken", "broken"]),  # two spans' time, and the cadence
        (300, 0, 9, ["broken"]),
    ],
)
def test_spans_of_ten_seconds(rows: int, start: int, end: int, expected: list[str]):
    """Short spans have a cadence and a usual number of rows, as long ones do; messages name seconds."""
    past = [Past(n, 1000, (MONDAY + 10 * n, MONDAY + 10 * n + 9), 10) for n in range(1, 9)]
    span = Past(9, rows, (MONDAY + 90 + start, MONDAY + 90 + end), 10)
    found = history.check_time(span, past, "10s", DataGateSettings())
    volume = _severities(history.check_volume(span, past, "10s", Volume())[0])
    assert expected == sorted(volume + [one.severity for one in found], reverse=True)
    assert all("(one each 10 s)" in one.text for one in found if "cadence" in one.text)


def test_a_first_partial_week_does_not_spoil_the_cadence():
    """A stream that began on a Thursday, and has a hole where a span is in quarantine, accepts its next weeks."""
    past = _weeks(9)
    past[0] = Past(1, 3000, (past[0].event_time[0] + 3 * 86_400, past[0].event_time[1]))
    for n in range(1, 9):
        seen = [span for span in past[:n] if span.span != 4]
        assert [] == history.check_time(past[n], seen, "week", DataGateSettings())


def test_replay():
    """The same rows in another order are a replay; another sample of the same source is none."""
    order = np.random.default_rng(0).permutation(4000)
    marks = {
        1: fingerprint(_statistics(REFERENCE).datasets[0]),
        2: fingerprint(_statistics(_table(seed=8)).datasets[0]),
    }
    again = fingerprint(_statistics(REFERENCE.take(pa.array(order))).datasets[0])
    assert ["broken"] == [found.severity for found in history.check_replay(again, {1: marks[1]})]
    assert [] == history.check_replay(again, {2: marks[2]})


def test_stuck():
    """One value in every row, or in a third of them, is stuck; a dry week is not."""
    x = REFERENCE["x"].to_numpy()
    for share, expected in ((1.0, ["broken"]), (0.36, ["broken"]), (0.25, ["drifted"]), (0.1, [])):
        stuck = np.where(np.random.default_rng(0).random(4000) < share, 0.123, x)
        tests = column_checks.check_stuck(_features(_table(x=stuck)), {"span 1": WAS}, 0.3)
        assert expected == _severities(tests)
    dry = column_checks.check_stuck(_features(_table(rain=np.zeros(4000))), {"span 1": WAS}, 0.3)
    assert [] == _severities(dry)


def test_shuffled():
    """A column moved to other rows loses its association, and only that."""
    twin = REFERENCE["twin"].to_pandas().sample(frac=1, random_state=0).to_numpy()
    shuffled = _features(REFERENCE.set_column(4, "twin", pa.array(twin)))
    assert ["broken"] == _severities(column_checks.check_shuffled(shuffled, {"span 1": WAS}, 0.5))
    assert [] == _severities(column_checks.check_shuffled(_features(_table(seed=7)), {"span 1": WAS}, 0.5))


def test_an_association_needs_two_values():
    """A constant feature is associated with nothing."""
    assert None is associate({("a", "x"): 5, ("a", "y"): 5}, 200)


def test_independent_categories_of_few_rows_are_never_shuffled():
    """Of 400 pairs of spans of 100 rows with seven independent categories, not one is found to be shuffled."""
    random = np.random.default_rng(11)
    sizes = (2, 3, 3, 4, 2, 3, 4)

    def span() -> dict:
        columns = [random.integers(0, size, 100).astype(str) for size in sizes]
        found = {}
        for index, left in enumerate(columns):
            found[f"c{index}"] = feature = statistics_pb2.FeatureNameStatistics()
            for other, right in enumerate(columns[index + 1 :], index + 1):
                table = collections.Counter(zip(left.tolist(), right.tolist(), strict=True))
                told = json.dumps(dataclasses.asdict(associate(table, 200)))
                feature.custom_stats.add(name=f"{gate_statistics.ASSOCIATION}c{other}", str=told)
        return found

    for _ in range(400):
        tests = column_checks.check_shuffled(span(), {"span 1": span()}, 0.5)
        assert "broken" not in _severities(tests)


def test_label_flipped_for_one_group():
    """A flipped label of one group is found by its rate or by its correlations, and no other group is blamed."""
    for middle in (0.0, 1.0):  # a rate of one half, where a flip leaves the rate as it is; and of a quarter
        tables = []
        for seed in (1, 2):
            random = np.random.default_rng(seed)
            x = random.normal(size=4000)
            tables.append(
                _table(seed=seed, x=x, y=(random.random(4000) < 1 / (1 + np.exp(middle - x))).astype(int))
            )
        before, table = tables
        here = table["group"].to_numpy() == "b"
        y = table["y"].to_numpy()
        flipped = table.set_column(0, "y", pa.array(np.where(here, 1 - y, y)))
        assert [] == _severities(label_checks.check_slices(_features(table), [_features(before)], 1.4))
        tests = label_checks.check_slices(_features(flipped), [_features(before)], 1.4)
        found = significance.conclude(tests, 0.001)
        assert [("broken", "group")] == [(one.severity, one.feature) for one in found if "group=" in one.text]
        assert "group=b" in found[0].text


def test_label_rate():
    """A small change passes, a large one has drifted, an upturned one is broken; so are labels that fail to come."""
    results = []
    for share in (0.30, 0.55, 0.80):
        y = (np.random.default_rng(0).random(4000) < share).astype(int)
        now, before = (
            _features(_table(y=y))["y"],
            _features(_table(y=(np.arange(4000) % 10 < 3).astype(int)))["y"],
        )
        tests, _ = label_checks.check_rate(now, {"span 1": before}, "binary", (0, 4000), LabelRate())
        results.append(_severities(tests))
    assert [[], ["drifted"], ["broken"]] == results
    for unlabelled, expected in ((0.1, []), (0.4, ["drifted"]), (0.7, ["broken"])):
        missing = (round(4000 * unlabelled), 4000)
        tests, _ = label_checks.check_rate(WAS["y"], {}, "binary", missing, LabelRate())
        assert expected == _severities(tests)


def test_label_of_many_classes_and_of_a_quantity():
    """Classes are compared by their shares, quantities by their mean in standard deviations."""
    random = np.random.default_rng(0)
    before = _features(_table(y=random.integers(0, 3, 4000)))["y"]
    now = _features(_table(y=np.where(random.random(4000) < 0.5, 2, random.integers(0, 3, 4000))))["y"]
    tests, _ = label_checks.check_rate(now, {"span 1": before}, "multiclass", (0, 4000), LabelRate())
    assert ["drifted"] == _severities(tests)
    tests, numbers = label_checks.check_rate(
        _features(_table(x=random.normal(1, 1, 4000)))["x"],
        {"span 1": WAS["x"]},
        "regression",
        (0, 4000),
        LabelRate(),
    )
    assert ["drifted"] == _severities(tests)
    assert 1.0 == pytest.approx(numbers["references"]["span 1"]["change"], abs=0.1)


def test_units():
    """Miles as kilometres are broken; a price level of 1.45 has drifted, for a stable feature it is broken."""
    x = np.random.default_rng(4).gamma(3, 100, 4000)
    before = _features(_table(x=np.random.default_rng(5).gamma(3, 100, 4000)))
    for factor, stable, expected in (
        (1.0, (), []),
        (1.609344, (), ["broken"]),
        (1000, (), ["broken"]),
        (1.45, (), ["drifted"]),
        (1.45, ("x",), ["broken"]),
    ):
        tests = unit_checks.check_units(_features(_table(x=x * factor)), {"span 1": before}, stable)
        assert expected == _severities(tests)


@pytest.mark.parametrize(
    ("slope", "offset", "expected"),
    [
        (1.8, 32.0, "broken"),
        (1 / 1.8, -32 / 1.8, "broken"),
        (1.8, 0.0, "drifted"),
        (1 / 1.8, 0.0, "drifted"),
        (1 / 2.20462, 40.0, "drifted"),
        (1 / 2.20462, 0.0, "broken"),
    ],
)
def test_a_unit_keeps_its_zero(slope, offset, expected):
    """Other places are lower and less hilly: only degrees have an offset, and only their own."""
    celsius = np.random.default_rng(6).normal(15, 8, (2, 4000))
    before = _features(_table(x=celsius[0]))
    tests = unit_checks.check_units(_features(_table(x=celsius[1] * slope + offset)), {"span 1": before}, ())
    assert [expected] == _severities(tests)


def test_a_price_level_is_never_broken():
    """A regression label that moves by 0.6 or by 50 standard deviations has drifted."""
    for move in (0.63, 50.0):
        later = _features(_table(x=np.random.default_rng(0).normal(move, 1, 4000)))["x"]
        tests, _ = label_checks.check_rate(later, {"span 1": WAS["x"]}, "regression", (0, 4000), LabelRate())
        assert ["drifted"] == _severities(tests)


def test_a_label_of_one_class_is_a_default():
    """4,000 labels that are all 0 where a third were 1 are broken; five rows of them may be chance."""
    ordinary = _features(_table(y=(np.arange(4000) % 3 == 0).astype(int)))["y"]
    for rows, expected in ((4000, ["drifted", "broken"]), (5, ["ok", "ok"])):
        constant = _features(_table(rows=rows, y=np.zeros(rows, int)))["y"]
        tests, _ = label_checks.check_rate(constant, {"span 1": ordinary}, "binary", (0, rows), LabelRate())
        assert expected == _severities(tests)


def test_a_label_that_turns_in_all_rows_is_no_fault_of_a_category():
    """Where the label flips for every group the world has changed: no group is blamed."""
    random = np.random.default_rng(3)
    x = random.normal(size=4000)
    before = _table(x=x, y=(random.random(4000) < 1 / (1 + np.exp(-x))).astype(int))
    turned = before.set_column(0, "y", pa.array(1 - before["y"].to_numpy()))
    tests = label_checks.check_slices(_features(turned), [_features(before)], 1.4)
    assert "broken" not in _severities(tests)


def test_a_few_rows_are_not_sure():
    """One value out of range in 100 rows, and one unknown value in 15, are warnings: they may be chance."""
    x = np.where(np.arange(100) < 1, 1e6, 0.5)
    group = np.where(np.arange(15) < 1, "z", "b")
    for table in (_table(rows=100, x=x), _table(rows=15, group=group, twin=["a"] * 15)):
        _, findings = anomalies.validate(_statistics(table), SCHEMA, DataGateSettings())
        told = [found for found in findings if found.p is not None]
        assert told and {"ok"} == {found.severity for found in told}


def test_rows_per_hour_of_spans_cut_by_rows_are_never_broken():
    """A stream with a tenth of its events fills a span of N rows ten times slower: drifted, not broken."""
    past = [Past(n, 1000, (n * WEEK, n * WEEK + WEEK - HOUR)) for n in range(1, 9)]
    slow = Past(9, 1000, (9 * WEEK, 19 * WEEK))
    assert ["drifted"] == _severities(history.check_volume(slow, past, "rows:1000", Volume())[0])


def test_a_sunday_is_not_broken():
    """Days are compared with the lowest day of a week; a Monday with a third of it is broken."""
    past = [
        Past(n, 1000 if n % 7 < 5 else 400, (n * 24 * HOUR, n * 24 * HOUR + 23 * HOUR)) for n in range(14)
    ]
    for rows, broken in ((380, False), (130, True)):
        span = Past(14, rows, (14 * 24 * HOUR, 14 * 24 * HOUR + 23 * HOUR))
        assert broken == ("broken" in _severities(history.check_volume(span, past, "day", Volume())[0]))


def test_volume_is_unsure_of_two_spans():
    """Two spans do not show the variance of a stream: half of the rows have drifted."""
    span = Past(3, 3000, (MONDAY + 3 * WEEK, MONDAY + 4 * WEEK - HOUR))
    assert ["drifted"] == _severities(history.check_volume(span, _weeks(2), "week", Volume())[0])


def test_equal_counts_of_few_values_are_no_replay():
    """Two spans of 100 rows with two features of two values may have equal counts by chance."""
    mark = {"": "100", "a": "1", "b": "2"}
    assert ["ok"] == [found.severity for found in history.check_replay(mark, {1: mark}, {"a": 3.3, "b": 3.3})]


def test_ordinary_spans_of_any_size_pass():
    """Of 60 pairs of samples of one source, of 30 to 2,000 rows, none is broken."""
    for seed in range(60):
        rows = (30, 100, 500, 2000)[seed % 4]
        now, before = (_features(_table(rows=rows, seed=1000 + 2 * seed + side)) for side in (0, 1))
        tests = [
            *label_checks.check_slices(now, [before], 1.4),
            *column_checks.check_stuck(now, {"span 1": before}, 0.3),
            *column_checks.check_shuffled(now, {"span 1": before}, 0.5),
            *label_checks.check_rate(now["y"], {"span 1": before["y"]}, "binary", (0, rows), LabelRate())[0],
        ]
        assert "broken" not in _severities(tests)


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"measure": {}}, "did you mean 'measures'"),
        ({"measures": {"psy": 1}}, "did you mean 'psi'"),
        ({"volume": {"lo": 1}}, "config key gates.data.volume.lo"),
        ({"features": {"x": {"jsd": 1}}}, "did you mean 'js'"),
        ({"measures": {"psi": -1}}, "greater than or equal to 0, got -1"),
        ({"measures": {"psi": "high"}}, "got 'high'"),
    ],
)
def test_bad_settings(gate, message: str):
    """An unknown key or measure or a value that is not a threshold is refused, with what was meant."""
    with pytest.raises(ConfigError, match=message):
        read_json(DataGateSettings, json.dumps(gate), "gates.data")


def test_settings_take_the_configs_json():
    """A measure that is not named keeps its default, null is kept, and what is written is read as the same."""
    assert DataGateSettings() == read_json(DataGateSettings, "", "gates.data")
    text = json.dumps(
        {
            "measures": {"linf": 0.3, "psi": None},
            "features": {"x": {"js": 0.4, "psi": None}},
            "ignore": "id",
            "volume": {"low": 0.2, "high": 5.0},
            "label_rate": None,
        }
    )
    read = read_json(DataGateSettings, text, "gates.data")
    assert {"js": 0.2, "kl": None, "linf": 0.3, "psi": None} == read.measures
    assert (["id"], None, Volume(low=0.2, high=5.0)) == (read.ignore, read.label_rate, read.volume)
    assert read == read_json(DataGateSettings, read.model_dump_json(), "gates.data")


HELLINGER = """
from noria.components.data_gate.measures.base import Measure, shares

class Hellinger(Measure):
    label = "Hellinger"
    definition = "Hellinger distance: √(½ Σ (√p − √q)²)"
    bounds = (0.0, 1.0)

    def value(self, current, reference):
        pairs = zip(shares(current), shares(reference))
        return min((sum((p**0.5 - q**0.5) ** 2 for p, q in pairs) / 2) ** 0.5, 1.0)
"""


def test_measures_of_ones_own(tmp_path):
    """A class by import path is measured and judges beside the others, and passes the contract."""
    (tmp_path / "my_measures.py").write_text(HELLINGER, encoding="utf-8")
    name = "my_measures.Hellinger"
    check_measure(MEASURES.find(name, tmp_path))
    shifted = _table(x=np.random.default_rng(0).normal(1, 1, 4000))
    off = dict.fromkeys(MEASURES.names())
    drifts, findings = _compare(shifted, project=tmp_path, measures=off | {name: 0.2})
    values = {found.feature: found for found in drifts if found.measure == name}
    assert {"group", "rain", "twin", "x"} == set(values)
    assert values["x"].drifted and pytest.approx(0.34, abs=0.03) == values["x"].value
    assert ["x"] == [found.feature for found in findings]
    with pytest.raises(ConfigError, match="there is no module 'nobodys'"):
        _compare(shifted, measures={"nobodys.Measure": 0.1})


@pytest.mark.parametrize("name", MEASURES.names())
def test_contract(name: str):
    """Every measure is 0 for equal distributions, grows with the distance, stays in its bounds and is finite."""
    check_measure(MEASURES.find(name))


def test_the_contract_finds_faults():
    """A measure that is not 0 for equal distributions is refused with the distributions."""

    class Never(psi.PopulationStability):
        def value(self, current, reference):
            return super().value(current, reference) + 0.1

    with pytest.raises(AssertionError, match="equal distributions must give 0.0, got 0.1"):
        check_measure(Never)


@pytest.mark.parametrize(
    "change", [{}, {"group": np.where(np.arange(4000) < 900, "new", "b"), "twin": ["a"] * 4000}]
)
def test_linf_is_that_of_tfdv(change):
    """L-infinity is TFDV's own, with new categories, too."""
    schema = schema_pb2.Schema()
    schema.CopyFrom(SCHEMA)
    for feature in schema.feature:
        feature.ClearField("drift_comparator")
        if feature.name in ("group", "twin"):
            feature.drift_comparator.infinity_norm.threshold = 1.0
    result = tfdv.validate_statistics(
        _statistics(_table(seed=4, **change)), schema, previous_statistics=_statistics(REFERENCE)
    )
    expected = {
        info.path.step[0]: measurement.value
        for info in result.drift_skew_info
        for measurement in info.drift_measurements
    }
    drifts, _ = _compare(_table(seed=4, **change))
    actual = {found.feature: found.value for found in drifts if found.measure == "linf"}
    assert {"group", "twin"} == set(expected)
    assert expected == pytest.approx(actual, abs=1e-9)


def test_a_rare_large_value_is_no_drift():
    """One value far from the others does not move a distribution; in buckets of equal width it would."""
    rain = REFERENCE["rain"].to_numpy().copy()
    rain[0] = 90.0
    drifts, _ = _compare(_table(rain=rain))
    [found] = [one for one in drifts if (one.feature, one.measure) == ("rain", "js")]
    assert found.value < 0.001 and not found.drifted


def test_tfdv_comparators_see_what_the_docstring_says():
    """TFDV gives 0 for L-infinity on numbers that have nothing in common: the reason why `linf` is for categories."""
    schema = schema_pb2.Schema()
    schema.CopyFrom(SCHEMA)
    tfdv.get_feature(schema, "x").drift_comparator.infinity_norm.threshold = 0.1
    far = _statistics(_table(x=np.random.default_rng(0).normal(100, 1, 4000)))
    result = tfdv.validate_statistics(far, schema, previous_statistics=_statistics(REFERENCE))
    found = {info.path.step[0]: info.drift_measurements for info in result.drift_skew_info}
    assert [0.0] == [one.value for one in found["x"] if one.type == 1]


def test_spans_cut_by_rows_have_no_cadence():
    """A stream that gets faster fills its spans sooner: that is not a shifted clock, a covered range still a replay."""
    past = [Past(n, 1000, (MONDAY + n * WEEK, MONDAY + (n + 1) * WEEK - HOUR)) for n in range(1, 9)]
    sooner = Past(9, 1000, (MONDAY + 9 * WEEK - 30 * HOUR, MONDAY + 10 * WEEK - 40 * HOUR))
    by_rows = [
        found.severity
        for found in history.check_time(sooner, past, "rows:1000", DataGateSettings(overlap=None))
    ]
    assert [] == by_rows
    again = Past(9, 1000, past[3].event_time)
    assert "broken" in [
        found.severity for found in history.check_time(again, past, "rows:1000", DataGateSettings())
    ]


@pytest.mark.parametrize(("columns", "severity"), [(1, "broken"), (200, "ok")])
def test_one_of_many_columns_may_look_unusual(columns: int, severity: str):
    """10 of 30 values are missing where a tenth is tolerated (p = 0.0005): a fault of one column, chance of 200."""
    values: list[float | None] = [*([None] * 10), *(float(i) for i in range(20))]
    table = pa.table({f"x{i}": values if i == 0 else [1.5] * 30 for i in range(columns)})
    schema = schema_pb2.Schema()
    for name in table.column_names:
        feature = schema.feature.add(name=name, type=schema_pb2.FLOAT)
        feature.presence.min_fraction = 0.9
    statistics = summarize(list_batches(table), options(schema, "y", "binary"))
    _, findings = anomalies.validate(statistics, schema, DataGateSettings())
    assert [("x0", severity)] == [(found.feature, found.severity) for found in findings]

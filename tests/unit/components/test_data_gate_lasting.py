"""A state that lasts is the new normal; a few stray rows are not a reference."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from noria.components.data_gate import first_model, lasting
from noria.components.data_gate.anomalies import features
from noria.components.data_gate.data_verdict import Evidence, judge
from noria.components.data_gate.history import Past, usual
from noria.components.data_gate.settings import DataGateSettings
from noria.components.statistics_gen.in_process import options
from noria.components.statistics_gen.summarize import summarize
from noria.pipeline.init.schema_inference import infer
from noria.schemas.list_columns import list_batches
from noria.stores.quarantine import unquarantine_all
from noria.stores.registry import Registry
from noria.stores.spans import SpanStore
from noria.stores.versions import Normal

WEEK = 604_800


def _table(seed: int, middle: float = 0.0, share: float = 0.2, power: float = 1.0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "y": (random.random(2000) < share).astype(int),
            "x": random.normal(middle, 1, 2000),
            "z": random.random(2000) ** power,
        }
    )


SCHEMA = infer(_table(0), "y")


def _statistics(table: pa.Table):
    return summarize(list_batches(table), options(SCHEMA, "y", "binary"))


def _past(span: int) -> Past:
    return Past(span, 2000, (span * WEEK, span * WEEK + WEEK - 3600))


def _evidence(span: int, table: pa.Table) -> Evidence:
    past = [_past(number) for number in range(1, 4)]
    before = _statistics(_table(3))
    return Evidence(
        span=_past(span),
        statistics=_statistics(table),
        schema=SCHEMA,
        references={"previous span 3": before},
        past=past,
        usual=past,
        past_statistics=[before],
        fingerprints={},
        unlabelled=(0, 2000),
        label="y",
        time="",
        task="binary",
        every="",
    )


def _held(span: int, table: pa.Table) -> lasting.Held:
    verdict = judge(_evidence(span, table), DataGateSettings())
    return lasting.Held(_past(span), frozenset(verdict.broken), _statistics(table))


def test_a_state_that_lasts_is_the_new_normal():
    """Two spans with a label rate of 0.8 after 0.2: the second is drifted and says why; `lasting` can ask for more."""
    settings = DataGateSettings()
    evidence = _evidence(6, _table(6, share=0.8))
    broken = judge(evidence, settings)
    assert ("broken", [("label", "")]) == (broken.verdict, broken.broken)
    held = [_held(4, _table(4, share=0.8)), _held(5, _table(5, share=0.8))]
    assert lasting.accept(broken, evidence, held[1:], settings) is not None
    assert lasting.accept(broken, evidence, [], settings) is None
    settings = DataGateSettings(lasting=3)
    verdict = lasting.accept(broken, evidence, held, settings)
    assert "drifted" == verdict.verdict and [] == verdict.broken
    assert any("spans 4 to 6 are similar" in reason for reason in verdict.reasons)
    assert lasting.accept(broken, evidence, held[1:], settings) is None
    assert lasting.accept(broken, evidence, held, DataGateSettings(lasting=None)) is None
    apart = [held[0], dataclasses.replace(held[1], broken=frozenset({("time", "")}))]
    assert lasting.accept(broken, evidence, apart, settings) is None


@pytest.mark.parametrize(("power", "verdict"), [(1.0, "broken"), (2.0, "drifted")])
def test_a_label_that_moves_with_most_features_is_no_fault(power, verdict):
    """Other places have other labels: the span is broken only if the features stay what they were."""
    table = _table(6, middle=1.0, share=0.8, power=power)
    assert verdict == judge(_evidence(6, table), DataGateSettings()).verdict


def test_what_is_wrong_by_its_structure_never_becomes_normal():
    """Two spans without a column stay broken; two with values out of the schema's range do not."""
    settings = DataGateSettings()
    for make, normal in (
        (lambda seed: _table(seed).drop(["x"]), False),
        (lambda seed: _table(seed, middle=1000.0), True),
    ):
        evidence = _evidence(6, make(6))
        broken = judge(evidence, settings)
        assert "broken" == broken.verdict
        held = [_held(5, make(5))]
        assert normal == (lasting.accept(broken, evidence, held, settings) is not None)


def test_stray_rows_are_no_reference():
    """Spans of one row, and those before the new normal, are neither the median nor the cadence."""
    past = [Past(1, 1, (0, 0)), Past(2, 500, (1, 2)), Past(3, 500, (3, 4)), Past(4, 20, (5, 6))]
    assert [2, 3] == [span.span for span in usual(past, 500, 30)]
    assert [3] == [span.span for span in usual(past, 500, 30, since=3)]
    assert [] == usual(past[:1], 500, 30)


def test_a_person_accepts_all_as_normal(tmp_path):
    """All spans leave quarantine by force, and the registry says from which span on the data are normal."""
    store = SpanStore(tmp_path)
    for span in (1, 2, 3):
        store.create(span, [_table(span)], source="test")
    for span in (2, 3):
        store.quarantine(span, {"verdict": "broken", "reasons": ["x"], "broken": [["schema", "x"]]}, 1, "run")
    made = unquarantine_all(tmp_path, "a new airport", "ann", normal=True)
    assert [(2, True), (3, True)] == [(decision.span, decision.forced) for decision in made]
    assert {} == store.quarantined()
    normal = Registry(tmp_path).normal()
    assert (2, (("schema", "x"),)) == (normal.span, normal.accepted)
    with pytest.raises(Exception, match="no span is in quarantine"):
        unquarantine_all(tmp_path, "again", "ann")


def test_what_was_accepted_no_longer_stops_the_pipeline():
    """A finding of the schema that is normal now is drifted; any other is still broken."""
    evidence = _evidence(6, _table(6, middle=1000.0))
    accepted = Normal(2, (("schema", "x"),), "a new gauge", "ann", "now")
    softened = judge(dataclasses.replace(evidence, normal=accepted, references={}), DataGateSettings())
    assert "drifted" == softened.verdict
    other = dataclasses.replace(accepted, accepted=(("schema", "z"),))
    assert "broken" == judge(dataclasses.replace(evidence, normal=other), DataGateSettings()).verdict


@pytest.mark.parametrize(
    ("labels", "task", "known", "spans", "complete"),
    [
        ([0] * 50, "binary", {"no": 50, "yes": 50}, 1, False),
        ([0] * 50 + [1], "binary", {"no": 50, "yes": 50}, 1, True),
        ([0] * 50 + [1] * 50, "multiclass", {"a": 400, "b": 400, "c": 400}, 9, False),  # sorted by the label
        ([0] * 50 + [1] * 50 + [2], "multiclass", {"a": 400, "b": 400, "c": 400}, 1, True),
        ([0] * 50 + [1] * 50, "multiclass", {"a": 600, "b": 550, "c": 7}, 1, True),  # c is rare
        ([0] * 50, "multiclass", {"a": 1000, "b": 3, "c": 7}, 9, False),  # a constant is no model
        ([0] * 50 + [1] * 50, "multiclass", {"a": 50, "b": 50, "c": 0}, 1, False),  # c may come
        ([0] * 50 + [1] * 50, "multiclass", {"a": 50, "b": 50, "c": 0}, 8, True),  # c may never come
        ([0] * 50 + [1] * 50, "multiclass", {}, 1, True),
        ([0.5] * 50, "regression", {}, 1, True),
    ],
)
def test_a_first_model_needs_the_classes(labels, task: str, known: dict, spans: int, complete: bool):
    """Training rows without a class that is not rare give no first model, and a class that never comes ends nothing."""
    table = pa.table({"y": labels, "x": np.arange(len(labels), dtype=float)})
    found = summarize(list_batches(table), options(infer(table, "y"), "y", task))
    reason = first_model.missing(features(found)["y"], task, known, spans)
    assert complete == (reason is None)
    assert complete or "0 (50 rows)" in reason


def test_a_column_without_a_value_in_few_rows():
    """Four rows without what every third row has are chance, four hundred are a missing column."""
    table = _table(0).append_column("note", pa.array(["seen", None, None, None] * 500))
    schema = infer(table, "y")
    for rows, verdict in ((4, "ok"), (400, "broken")):
        some = table.slice(0, rows).set_column(3, "note", pa.nulls(rows, pa.string()))
        evidence = dataclasses.replace(_evidence(4, some), statistics=_statistics(some), schema=schema)
        assert verdict == judge(dataclasses.replace(evidence, references={}), DataGateSettings()).verdict


def test_before_the_first_model_a_label_that_moves_is_no_fault():
    """A window that gave no model holds one class, so the next span's classes have drifted and are not broken."""
    evidence = _evidence(6, _table(6, share=0.8))
    assert "drifted" == judge(dataclasses.replace(evidence, first=True), DataGateSettings()).verdict

"""Turns the data of a run into what the template shows, sorted, scaled and formatted."""

from collections.abc import Mapping
from typing import Any

from noria.pipeline.config.sections import NODES
from noria.pipeline.report import charts, data_view, distributions, model_view, outcome
from noria.pipeline.report.display_names import SILENT, measure_definitions
from noria.pipeline.report.outcome import Outcome
from noria.pipeline.report.run_data import Artifacts, RunData
from noria.pipeline.report.words import is_number, moment, ranges

# TFX's own SchemaGen writes no journal: its absence says nothing.
# All plots and lines of a table of 1,500 columns would be a page of 13 MB, slow to open and too long to read.
CARDS, LINES = 60, 300
AFTER_GATE = NODES[NODES.index("DataGate") + 1 :]


def build(run_data: RunData, artifacts: Artifacts, result: Outcome) -> dict[str, Any]:
    """Everything that `report.html.j2` needs, by name."""
    drift = data_view.drift_rows((artifacts.data_verdict or {}).get("drift") or [])
    features, known, damaged = distributions.compare(
        {
            "span": artifacts.span_statistics,
            "previous": artifacts.previous_statistics,
            "champion": artifacts.champion_statistics,
        },
        first=[row["feature"] for row in drift],
        most=CARDS,
    )
    slices = model_view.slice_rows(artifacts.model_verdict)
    return {
        "project": run_data.project,
        "run": run_data.run,
        "result": result,
        "data_reasons": [str(r) for r in (artifacts.data_verdict or {}).get("reasons") or []],
        "model_reasons": outcome.reasons(run_data, artifacts),
        "alarms": [str(line) for line in (artifacts.model_verdict or {}).get("alarms") or []],
        "failure": outcome.failure(run_data),
        "tiles": tiles(run_data, artifacts),
        "stages": stages(run_data, result),
        "features": data_view.cards(features, drift),
        "features_known": known,
        "series": [key for key in distributions.SERIES if any(key in f.shares for f in features)],
        "names": charts.NAMES,
        "drift": drift[:LINES],
        "drift_known": len(drift),
        "measures": measure_definitions(row["measure"] for row in drift),
        "lines": LINES,
        "anomalies": data_view.anomalies(artifacts.data_verdict),
        "gate_ran": artifacts.data_verdict is not None,
        "volume": data_view.numbers((artifacts.data_verdict or {}).get("volume")),
        "label_rate": data_view.numbers((artifacts.data_verdict or {}).get("label_rate")),
        "schema_diff": artifacts.schema_diff,
        "slices": slices,
        "checks": model_view.checks(artifacts.model_verdict),
        "first_run": bool((artifacts.model_verdict or {}).get("first_run")),
        "baseline": (artifacts.model_verdict or {}).get("baseline"),
        "warm_start": model_view.warm_start(artifacts.warm_start),
        "twin": model_view.twin(artifacts.model_verdict),
        "lineage": lineage(run_data, artifacts, result),
        "damaged": [*artifacts.damaged, *damaged],
    }


def tiles(run_data: RunData, artifacts: Artifacts) -> list[dict[str, Any]]:
    """The numbers at the top: the verdict's metrics, the rows, the seconds."""
    found: list[dict[str, Any]] = []
    metrics = (artifacts.model_verdict or {}).get("metrics") or {}
    challenger, champion = metrics.get("challenger") or {}, metrics.get("champion") or {}
    for key in model_view.judged(challenger):
        change = model_view.difference(challenger.get(key), champion.get(key))
        tile = {"metric": key, "value": challenger[key], "champion": champion.get(key)}
        found.append({**tile, "difference": change, "better": model_view.better(key, change)})
    rows = run_data.run.get("rows") or outcome.merged(run_data).get("SpanExampleGen") or {}
    if isinstance(rows, Mapping) and is_number(rows.get("train")):
        known = [(k, rows[k]) for k in ("new", "replay", "eval", "unlabelled") if is_number(rows.get(k))]
        found.append({"rows": rows["train"], "parts": known})
    seconds = outcome.total_seconds(run_data)
    if seconds is not None:
        found.append({"seconds": seconds})
    return found


def stages(run_data: RunData, result: Outcome) -> list[dict[str, Any]]:
    """One line per stage that ran, in order, and one per node of the pipeline that did not."""
    found: list[dict[str, Any]] = []
    for record in run_data.journal:
        if record.get("event") not in ("end", "failed"):
            continue
        found.append(
            {
                "name": str(record.get("stage")),
                "seconds": record.get("seconds") if is_number(record.get("seconds")) else None,
                "path": record.get("path"),
                "reason": record.get("error") or _why(record),
                "rows": record.get("rows") if is_number(record.get("rows")) else None,
                "state": "failed" if record["event"] == "failed" else "done",
            }
        )
    longest = max((stage["seconds"] or 0.0 for stage in found), default=0.0)
    for stage in found:
        stage["share"] = (stage["seconds"] or 0.0) / longest if longest else 0.0
    ran = {stage["name"] for stage in found}
    for node in NODES if found else ():
        if node in ran or node in SILENT:
            continue
        if result.kind == "quarantined" and node in AFTER_GATE:
            reason = "the data gate found the span broken"
        elif result.kind == "thin":
            reason = "the span is thin"
        elif result.kind == "failed":
            reason = "the run stopped before it"
        else:
            reason = "no record in the journal"
        skipped = {"seconds": None, "path": None, "rows": None, "state": "skipped", "share": 0.0}
        found.append({"name": node, "reason": reason, **skipped})
    return found


def _why(record: Mapping[str, Any]) -> str:
    # Transform gives two reasons: why it reused or refreshed, and why it took this path.
    kind = record.get("transform")
    parts = [f"{kind}: {record['reason']}" if kind and record.get("reason") else record.get("reason")]
    return "; ".join(str(part) for part in (*parts, record.get("path_reason")) if part)


def lineage(run_data: RunData, artifacts: Artifacts, result: Outcome) -> list[tuple[str, str]]:
    """Where this run comes from, as pairs of a name and its value."""
    run, stages = run_data.run, outcome.merged(run_data)
    transform = stages.get("Transform", {})
    spans = run.get("spans") or stages.get("SpanExampleGen", {}).get("spans")
    used = run.get("transform") or (artifacts.warm_start or {}).get("transform") or transform.get("transform")
    reason = transform.get("reason")
    pairs = [
        ("Run", run.get("run_id")),
        ("Started", moment(run["started"]) if run.get("started") else None),
        ("Trained on spans", ranges(spans) if isinstance(spans, list | tuple) else spans),
        ("Parent", f"version {result.champion}" if result.champion else "none: trained from nothing"),
        ("Transform graph", f"{used}: {reason}" if used and reason else used),
        ("Code digest", run.get("code_digest")),
        ("Log", run.get("log")),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]

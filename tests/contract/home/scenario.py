"""What runs do to a home, step by step, each step only if it has not been done: so it can be repeated after a kill."""

import collections
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas  # noqa: F401  pyarrow imports it with its first array, and each forked process would again
import pyarrow as pa
import pyarrow.parquet

from noria.core import files
from noria.core.locks import hold
from noria.stores import quarantine
from noria.stores.publication import Publication
from noria.stores.recovery import recover, retain
from noria.stores.registry import Registry, RunRecord, run_of
from noria.stores.spans import SpanStore

ROWS = 40  # of each delivery
RUNS = {1: "run-1", 3: "run-3", 4: "run-4", 5: "run-5"}  # span -> the run that makes a version


def work(home: Path) -> None:
    """Three spans, late rows, one span in quarantine and out of it, four versions, a rollback, a twin, retention."""
    store, registry, root = SpanStore(home), Registry(home), home / "models" / "m"
    with hold(home, wait=60):
        recover(registry, root)
        for span in (1, 2, 3):
            if span not in store.ids():
                store.create(span, [rows(span)], source=source(span))
        if store.manifest(1).version == 1:
            store.add_late_rows(1, [rows(10)], source=source(10))
        if "run-2" not in registry.state().runs:
            verdict = {"verdict": "broken", "reasons": ["stuck"], "broken": []}
            quarantine.hold_back(home, 2, 1, verdict, "run-2")
        if registry.state().unquarantined.get(2) is None or 2 in store.quarantined():
            quarantine.unquarantine(home, 2, "looked at it", "ann", forced=True)
        for span, run_id in RUNS.items():
            if run_id not in registry.state().runs:
                _run(home, registry, root, span, run_id)
        if 4 in registry.state().served:
            Publication(registry, root).rollback("worse in the shop", "bob")
        if "twin" not in registry.state().runs:
            twin = registry.register(payload(home, "twin"), run_id="twin", mode="twin", twin=True, span=5)
            registry.record_run(run_of(twin))
        for run_id in {"run-6", "run-7"} - registry.state().runs.keys():
            judged = {"version": 5, "loss": 0.4, "champion": 0.5}
            registry.record_run(RunRecord(span=int(run_id[-1]), run_id=run_id, twin=judged))
        Publication(registry, root).follow_twin()
        retain(registry, 2, root)
        files.write_json(home / "reports" / "00000001-run-1.json", {"written": 1})


def _run(home: Path, registry: Registry, root: Path, span: int, run_id: str) -> None:
    champion = registry.champion()
    version = registry.register(
        payload(home, run_id),
        run_id=run_id,
        span=span,
        parent=champion.version if champion else None,
        verdict={"model": {"blessed": True}, "data": {"verdict": "ok"}},
    )
    version = Publication(registry, root).publish(version.version)
    registry.record_run(run_of(version))


def rows(number: int) -> pa.Table:
    """The rows of one delivery; no two deliveries have a row in common."""
    return pa.table({"id": pa.array(range(number * 1000, number * 1000 + ROWS))})


def source(number: int) -> dict[str, Any]:
    return {"name": f"{number}.csv", "sha256": hashlib.sha256(b"%d" % number).hexdigest(), "rows": ROWS}


def payload(home: Path, run_id: str) -> dict[str, Path]:
    """A model as a Trainer leaves it, among the artifacts of the run, which stay on this machine."""
    folder = home / "tfx" / run_id
    for name in ("serving/saved_model.pb", "serving/variables/variables.index", "checkpoint/weights"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of {run_id}\n" * 50)
    return {"serving": folder / "serving", "checkpoint": folder / "checkpoint"}


def contents(home: Path) -> dict[str, Any]:
    """All that must be equal whatever was killed, and what must not be there twice."""
    store, registry, root = SpanStore(home), Registry(home), home / "models" / "m"
    state = registry.state()
    for span in store.ids():
        store.verify(span)
    events = [event for _, event in registry.log.after(0)]
    counted = collections.Counter(
        (event["kind"], str(event.get("version") if event["kind"] == "published" else event.get("to")))
        for event in events
        if event["kind"] in ("published", "rolled_back", "unquarantined")
    )
    registered = collections.Counter(
        event["version"]["run_id"] for event in events if event["kind"] == "registered"
    )
    for version in registry.versions():
        if version.state != "expired":
            found = files.tree_digests(version.payload_path)
            assert version.digests.items() <= found.items(), "half a version"
    folder = files.fetched(root)
    return {
        "rows": {span: sorted(store.table(span)["id"].to_pylist()) for span in store.ids()},
        "versions of spans": {span: store.manifest(span).version for span in store.ids()},
        "quarantined": store.quarantined(),
        "versions": {number: version.state for number, version in state.versions.items()},
        "served": state.served,
        "runs": sorted(run.run_id for run in registry.runs()),
        "events": dict(counted),
        "registered": dict(registered),
        "model directory": sorted(
            path.relative_to(folder).as_posix()
            for names in ("[0-9]*", ".twin-*")
            for path in folder.glob(f"{names}/**/*")
            if path.is_file()
        ),
        "report": json.loads(files.fetched(home / "reports" / "00000001-run-1.json").read_text()),
    }

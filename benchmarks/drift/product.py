"""What the product makes of a stream: `noria init`, then a run per span, each span predicted before it is learnt.

    python -m benchmarks.drift.product [--streams waking,sea] [--seed 1] [--out FOLDER]

Writes drift.json: per stream and span the measures of the champion, of a guess and of a linear model, with the run's
verdicts. Needs no quiet machine; seconds are only comparable on one.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks import measure
from benchmarks.drift import references, streams

FIRST = 2  # spans of the first, cold run


def project(folder: Path, stream: streams.Stream) -> Any:
    """What `noria init` drafts from the stream, with spans of SPAN rows; its config."""
    from noria.pipeline import project as drafts
    from noria.pipeline.config import load

    folder.mkdir(parents=True)
    source = folder / "stream.parquet"
    pq.write_table(pa.Table.from_pandas(stream.table, preserve_index=False), source)
    drafts.draft(folder / "project", source, "label", time="time", task=stream.task)
    path = folder / "project" / "noria.yaml"
    settings = yaml.safe_load(path.read_text())
    # One process runs many projects: each needs a module name of its own.
    module = f"{stream.name}_features"
    path.with_name("preprocessing.py").rename(path.with_name(f"{module}.py"))
    settings["preprocessing"] = f"{module}.preprocessing_fn"
    settings["span"] = {"every": f"rows:{streams.SPAN}"}
    settings["window"]["first"] = FIRST
    path.write_text(yaml.safe_dump(settings))
    return load(folder / "project")


def scores(model_dir: str, table: pa.Table) -> np.ndarray:
    """A published model's scores `[rows, outputs]`."""
    import tensorflow as tf

    from noria.components.example_gen import encode

    serve = tf.saved_model.load(model_dir).signatures["serving_default"]
    parts = [
        serve(tf.constant(encode.encode(batch)))["score"].numpy() for batch in table.to_batches(max_chunksize=8192)
    ]
    return np.concatenate(parts)


def follow(config: Any, stream: streams.Stream) -> list[dict[str, Any]]:
    """Runs span by span; one record for each span that was predicted."""
    from noria.pipeline.wheel import turn_all
    from noria.stores.registry import Registry
    from noria.stores.spans import SpanStore

    spans, records = stream.spans(), []
    for newest in range(FIRST, len(spans)):
        began = time.perf_counter()
        failure = None
        try:
            [turn] = turn_all(config, limit=1)
        except Exception as error:  # a run that fails leaves the champion: that is measured, too
            failure, turn = f"{type(error).__name__}: {error}"[:300], None
        seconds = time.perf_counter() - began
        registry, store = Registry(config.home_path), SpanStore(config.home_path)
        champion = registry.champion()
        upcoming = spans[newest]
        labels = upcoming["label"].to_numpy()
        record: dict[str, Any] = {"span": newest + 1, "seconds": round(seconds, 2), "failure": failure}
        if turn is not None:
            record |= {"trained": turn.span, "mode": turn.mode, "data": turn.data_verdict, "model": turn.model_verdict}
            record |= {"reasons": [str(reason)[:160] for reason in turn.reasons][:4]}
        for name in ("guess", "linear"):
            predicted = getattr(references, name)(stream, spans[:newest], upcoming)
            record[name] = references.measures(stream.task, labels, predicted)
        if champion is not None:
            table = store.table(store.ids()[newest])
            record["version"] = champion.version
            found = scores(champion.model_dir, table)
            record["champion"] = references.measures(stream.task, table["label"].to_numpy(), found)
            carry = json.loads((champion.payload_path / "carry.json").read_text())
            record["examples"] = carry["examples_seen"]
            newly = [f for f in carry.get("features", []) if f["how"] == "new"]
            record["features_new"] = newly if carry["mode"] == "warm" else []
        records.append(record)
        print(json.dumps(record), flush=True)
    return records


def summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A stream in a row: mean and worst span's loss, and over that of a guess."""
    served = [record for record in records if "champion" in record]
    if not served:
        return {}
    ratios = [r["champion"]["loss"] / r["guess"]["loss"] for r in served]
    found = {
        "spans": len(served),
        "loss": float(np.mean([r["champion"]["loss"] for r in served])),
        "worst": float(np.max([r["champion"]["loss"] for r in served])),
        "worst_over_guess": float(np.max(ratios)),
        "seconds": float(np.sum([r["seconds"] for r in records])),
        "examples": max(r["examples"] for r in served),
    }
    for name in ("guess", "linear"):
        found[f"{name}_loss"] = float(np.mean([r[name]["loss"] for r in served]))
    found["over_guess"] = found["loss"] / found["guess_loss"]
    for name in ("auc", "rmse", "mae"):
        values = [r["champion"].get(name) for r in served if name in r["champion"]]
        if values:
            found[name] = float(np.mean(values))
    found["verdicts"] = {}
    for r in records:
        key = "failed" if r["failure"] else f"{r['data']}, {r['model']}"
        found["verdicts"][key] = found["verdicts"].get(key, 0) + 1
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all streams that were asked for, in one resident process."""
    parser = measure.parser(__doc__)
    parser.add_argument("--streams", default=",".join(streams.NAMES), help="names, with commas (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    options = measure.options(parser, argv)
    result: dict[str, Any] = {"seed": options.given.seed, "streams": {}}
    for name in options.given.streams.split(","):
        stream = streams.stream(name, options.given.seed)
        with tempfile.TemporaryDirectory() as scratch:
            records = follow(project(Path(scratch, name), stream), stream)
        result["streams"][name] = {"task": stream.task, "summary": summary(records), "spans": records}
        print(name, json.dumps(result["streams"][name]["summary"]), flush=True)
        options.save("drift", result, {})  # after each stream: the whole takes a while


if __name__ == "__main__":
    main()

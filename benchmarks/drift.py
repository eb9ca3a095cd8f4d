"""Each stream span by span, test then train: the product beside what it is compared to.

    python -m benchmarks.drift [--streams waking,sea] [--seeds 1] [--first 1] [--no-references] [--quick]

The loss is log loss in nats, of numbers the squared error. `excess` is the product's mean loss minus that of the best
of {linear on 3 spans, cold on 1, 3 and 8 spans, a guess} chosen for each stream in hindsight, as a share of the guess's
loss. `cold` is LightGBM with its defaults (`pip install lightgbm`), or else scikit-learn's gradient boosting. Writes
drift.json.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import drift_product as product
from benchmarks import drift_references as references
from benchmarks import drift_streams as streams
from benchmarks import measure

COLD = (1, 3, 8)  # spans that gradient boosting is trained on


def follow(name: str, seed: int, most: int, others: bool) -> dict[str, Any]:
    """A stream of one seed: its spans, and their summary."""
    stream = streams.stream(name, seed)
    spans, records = stream.spans(), []
    with tempfile.TemporaryDirectory() as scratch:
        config = product.project(Path(scratch, name), stream)
        rows = [pa.Table.from_pandas(s.drop(columns="label"), preserve_index=False) for s in spans]
        for upcoming, record, served in product.follow(config, rows):
            labels, history = spans[upcoming]["label"].to_numpy(), spans[:upcoming]
            answers = {"product": served, "guess": references.guess(stream, history, spans[upcoming])}
            if others:
                answers["linear"] = references.linear(stream, history, spans[upcoming])
                answers |= {
                    f"cold {k}": references.boosting(stream, history, spans[upcoming], k) for k in COLD
                }
            record["measures"] = {
                key: references.measures(stream.task, labels, given)
                for key, given in answers.items()
                if given is not None
            }
            records.append({"span": upcoming + 1, **record})
            if len(records) == most:
                break
    return {"seed": seed, "task": stream.task, "summary": summary(records), "spans": records}


def summary(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and worst span over the spans for which a version served."""
    served = [record for record in records if "product" in record["measures"]]
    if not served:
        return {"spans": 0}

    def mean(who: str, measure: str = "loss") -> float:
        return float(np.mean([record["measures"][who].get(measure, np.nan) for record in served]))

    guess = mean("guess")
    ratios = [r["measures"]["product"]["loss"] / r["measures"]["guess"]["loss"] for r in served]
    losses = {who: mean(who) for who in served[0]["measures"]}
    rivals = {who: loss for who, loss in losses.items() if who != "product"}
    best = min(rivals, key=rivals.__getitem__)
    verdicts: dict[str, int] = {}
    for record in records:
        key = "failed" if "failure" in record else f"{record['data']}, {record['model']}"
        verdicts[key] = verdicts.get(key, 0) + 1
    return {
        "spans": len(served),
        "losses": losses,
        "over_guess": losses["product"] / guess,
        "worst_over_guess": float(np.max(ratios)),
        "best": best,
        "excess": (losses["product"] - rivals[best]) / guess,
        **{
            key: mean("product", key)
            for key in ("auc", "rmse", "mae")
            if key in served[0]["measures"]["product"]
        },
        "examples": max(record["examples"] for record in records),
        "rescued": sum(record.get("rescue") in ("cold", "guess") for record in records),
        "seconds": float(np.sum([record["seconds"] for record in records])),
        "verdicts": verdicts,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all streams that were asked for, in one resident process."""
    parser = measure.parser(__doc__)
    parser.add_argument("--streams", help="names, with commas (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each stream (default: 1)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--no-references", action="store_true", help="compare with a guess only")
    options = measure.options(parser, argv)
    names = (
        options.given.streams.split(",")
        if options.given.streams
        else options.size(list(streams.NAMES), ["waking"])
    )
    machine, began = options.machine(), time.perf_counter()
    result: dict[str, Any] = {"streams": {}}
    for seed in range(options.given.first, options.given.first + options.given.seeds):
        for name in names:
            found = follow(name, seed, options.size(10**9, 2), not options.given.no_references)
            result["streams"].setdefault(name, []).append(found)
            print(name, seed, {k: v for k, v in found["summary"].items() if k != "losses"}, flush=True)
            result["seconds"] = round(time.perf_counter() - began, 1)
            options.save("drift", result, machine)  # after each stream, seed by seed: the whole takes a while


if __name__ == "__main__":
    main()

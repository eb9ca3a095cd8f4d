"""Warm against cold, week after week: what a warm run costs, and whether it is as good as retraining.

    python -m benchmarks.freshness [--weeks 13] [--first 8] [--cold 8] [--quick]

Two pipelines run on the same spans, gates off so that every model is taken: one warm (each week continues from the
week before, with replay), one cold (each week trains from nothing on the newest weeks: `--cold`). After each week both
models predict the next week, which neither has seen: test, then train. Writes freshness.json and .png.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import drafted, measure


def project(folder: Path, first: int, cold: int, trainer: dict[str, Any]) -> Any:
    """The flights example, source and all, with a gate that takes every model and every week; its config."""
    settings = measure.flights()
    settings["data"] = {"source": "flight_events:table"}
    settings["window"] |= {"first": first, "cold": cold}
    settings["trainer"] |= trainer
    settings["gates"] = {
        "model": {"metrics": {"auc": {"min": 0.0}}, "slices": [], "slice_change": None, "first_run": "bless"}
    }
    return measure.project(folder, settings)


def score(model_dir: str, table: Any) -> dict[str, float]:
    """AUC and log loss of a published model on all labelled rows of a span."""
    from sklearn.metrics import log_loss, roc_auc_score

    rows = table.filter(table.column("late").is_valid())
    labels, predictions = rows.column("late").to_numpy(), drafted.scores(model_dir, rows)[:, 0]
    return {"auc": roc_auc_score(labels, predictions), "log_loss": log_loss(labels, predictions)}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs both pipelines and prints the table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--weeks", type=int, help="runs of each pipeline, the first cold (default: 13)")
    parser.add_argument("--first", type=int, help="weeks of the first cold run (default: 8)")
    parser.add_argument("--cold", type=int, default=8, help="newest weeks of a later cold run")
    options = measure.options(parser, argv)
    count = options.given.weeks or options.size(13, 2)
    first = options.given.first or options.size(8, 2)
    trainer = options.size({}, {"steps": 5, "early_stop": None})
    machine = options.machine()

    from noria.pipeline.runs.run import run_pending
    from noria.stores.registry import Registry
    from noria.stores.spans import SpanStore

    with tempfile.TemporaryDirectory() as scratch:
        pipelines = {
            mode: project(Path(scratch, mode), first, options.given.cold, trainer)
            for mode in ("warm", "cold")
        }
        weeks: list[dict[str, Any]] = []
        for _ in range(count):
            week: dict[str, Any] = {}
            for mode, config in pipelines.items():
                started = time.perf_counter()
                [run] = run_pending(config, limit=1, cold=mode == "cold")
                registry = Registry(config.home_path)
                version = registry.version(run.version)
                report = json.loads((version.payload_path / "warm_start.json").read_text())
                store = SpanStore(config.home_path)
                upcoming = next(span for span in store.ids() if span > run.span)
                week |= {"span": run.span, "next": upcoming}
                week[mode] = {
                    **score(version.model_dir, store.table(upcoming)),
                    "mode": run.mode,
                    "examples": report["examples_trained"],  # of a rescue, too
                    "rescue": (report.get("rescue") or {}).get("chosen"),
                    "seconds": sum(run.seconds.values()),
                    "wall_seconds": time.perf_counter() - started,
                }
            weeks.append(week)
            print(
                f"week {week['span']:>2}  warm AUC {week['warm']['auc']:.4f}  cold {week['cold']['auc']:.4f}  "
                f"examples {week['warm']['examples']:>7,} / {week['cold']['examples']:>7,}",
                flush=True,
            )

    followed = [week for week in weeks if week["warm"]["mode"] == "warm"]
    summary = {
        f"{mode}_{name}": float(np.mean([week[mode][name] for week in followed]))
        for mode in ("warm", "cold")
        for name in ("auc", "log_loss", "examples", "seconds")
    }
    for name in ("auc", "log_loss"):
        paired = np.array([week["warm"][name] - week["cold"][name] for week in followed])
        summary[f"{name}_difference"] = float(paired.mean())
        summary[f"{name}_error"] = (
            float(paired.std(ddof=1) / np.sqrt(len(paired))) if len(paired) > 1 else 0.0
        )
    summary["examples_ratio"] = summary["warm_examples"] / summary["cold_examples"]
    summary |= {"weeks": len(followed), "cold_weeks": options.given.cold}
    options.save("freshness", {"summary": summary, "weeks": weeks}, machine)
    plot(followed, options.out / "freshness.png")
    print(json.dumps(summary, indent=1))


def plot(weeks: list[dict[str, Any]], path: Path) -> None:
    """AUC and log loss on the next week, and what each run cost, week by week."""
    pyplot = measure.pyplot()
    figure, axes = pyplot.subplots(3, 1, figsize=(9, 9), sharex=True, layout="constrained")
    spans = [week["next"] for week in weeks]
    for axis, name, title in zip(
        axes,
        ("auc", "log_loss", "examples"),
        ("AUC on the next week", "log loss on the next week", "examples trained on"),
        strict=True,
    ):
        for mode, color in (("cold", "#8a8f98"), ("warm", "#1f6feb")):
            label = f"{mode}: mean {np.mean([week[mode][name] for week in weeks]):,.4g}"
            axis.plot(spans, [week[mode][name] for week in weeks], marker="o", color=color, label=label)
        axis.set_title(title, loc="left")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[-1].set_xlabel("week of 2013 that was predicted")
    axes[-1].set_yscale("log")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()

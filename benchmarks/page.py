"""docs/performance.md from the results: no figure on that page is written by hand.

python -m benchmarks.page > docs/performance.md
"""

import collections
import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def page() -> str:
    """The page, from whatever has been measured; what has not says so."""
    parts = [
        "# Performance and proofs",
        "",
        "Written by `python -m benchmarks.page > docs/performance.md` from `benchmarks/results/`; a test holds it to them.",
        "Two cores, no GPU. Times vary by a third from run to run; the ratios matter.",
    ]
    for title, command, name, write in SECTIONS:
        parts += ["", f"## {title}", "", f"`{command}`", ""]
        path = RESULTS / name
        parts += write(json.loads(path.read_text())) if path.exists() else ["Not measured yet."]
    return "\n".join([*parts, ""])


def continuity(result: dict[str, Any]) -> list[str]:
    """N steps in one go against N/2, publish, warm start, N/2."""
    lines = [
        "N steps in one go, and N/2, publish, warm start in a fresh process, N/2, on the same batches: the largest",
        "difference between any two weights or Adam slots.",
        "",
        "| family | weights | first moments | second moments |",
        "| --- | --- | --- | --- |",
    ]
    for family, found in result.items():
        if isinstance(found, dict) and "variables" in found:
            lines.append(
                f"| {family} | {found['variables']:.2g} | {found['first']:.2g} | {found['second']:.2g} |"
            )
    remap = [
        "",
        "**Remap.** After a refresh that reorders and grows the vocabularies and moves the means, predictions on rows with known",
        "entries are unchanged before training, within 1e-6: `pytest tests/unit/components/test_trainer.py -k remap_keeps`.",
    ]
    return lines + remap


def freshness(result: dict[str, Any]) -> list[str]:
    """Warm against cold, test then train."""
    s = result["summary"]
    return [
        f"Over {s['weeks']} consecutive weeks both wheels predict the *next* week, then train on it. Cold retrains on the whole",
        "history each week. Expected: warm no worse than cold by more than 0.002 AUC, for at most a quarter of the examples.",
        "",
        "| mean of a week | warm | cold |",
        "| --- | --- | --- |",
        f"| AUC on the next week | {s['warm_auc']:.4f} | {s['cold_auc']:.4f} |",
        f"| log loss on the next week | {s['warm_log_loss']:.4f} | {s['cold_log_loss']:.4f} |",
        f"| examples trained on | {s['warm_examples']:,.0f} | {s['cold_examples']:,.0f} |",
        f"| seconds of a turn (the machine was busy with other work) | {s['warm_seconds']:.1f} | {s['cold_seconds']:.1f} |",
        "",
        f"Warm minus cold: {s['auc_difference']:+.4f} AUC for {s['examples_ratio']:.1%} of the examples.",
        "",
        "![AUC, log loss and examples, week by week](../benchmarks/results/freshness.png)",
    ]


def gates(result: dict[str, Any]) -> list[str]:
    """Data verdicts of the year and of injected faults."""
    kinds = collections.Counter(week["verdict"] for week in result["weeks"])
    faults: dict[str, dict[int, str]] = {}
    for fault in result["faults"]:
        faults.setdefault(fault["fault"], {})[fault["span"]] = fault["verdict"]
    spans = sorted({span for found in faults.values() for span in found})
    lines = [
        f"Data verdicts over the {len(result['weeks'])} weeks of the year: "
        + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        + ".",
        "",
        "| injected fault | " + " | ".join(f"week {span}" for span in spans) + " |",
        "| --- |" + " --- |" * len(spans),
    ]
    for name, found in faults.items():
        lines.append(f"| {name} | " + " | ".join(found.get(span, "") for span in spans) + " |")
    return lines + [
        "",
        "`broken` trains and publishes nothing. The thresholds were tuned on the same year.",
    ]


def year(result: dict[str, Any]) -> list[str]:
    """The wheel over the whole year."""
    kinds = collections.Counter((turn["data_verdict"], turn["model_verdict"]) for turn in result["turns"])
    lines = ["The whole wheel, turned over the year with the example's own settings.", ""]
    lines += ["| data verdict | model verdict | weeks |", "| --- | --- | --- |"]
    lines += [f"| {data} | {model} | {count} |" for (data, model), count in sorted(kinds.items())]
    published = sorted({fault["fault"] for fault in result["faults"] if fault["published"]})
    spans = sorted({fault["span"] for fault in result["faults"]})
    lines += [
        "",
        f"Every fault of the table above was turned through both gates in weeks {', '.join(map(str, spans))}: "
        f"{len(result['faults'])} turns,",
        f"of which {', '.join(published) or 'none'} ended in production.",
    ]
    return lines


def warm_run(result: dict[str, Any]) -> list[str]:
    """Against stock TFX."""
    first, median = result["noria_first"], result["noria_median"]
    stages = {name: seconds for name, seconds in sorted(result["stock_runs"][0]["stages"].items())}
    lines = [
        f"A warm run on January's {result['rows']:,} flights, {result['steps']} steps of 256 rows, two models judged on the same",
        "slices; imports excluded on both sides, one machine, one run.",
        "",
        "| | seconds |",
        "| --- | --- |",
        f"| stock TFX components | {result['stock_seconds']:.1f} |",
        f"| Noria, first turn of a process | {first['wall']:.1f} |",
        f"| Noria, resident process, median of {len(result['noria_runs'])} | {median['wall']:.1f} |",
        "",
        f"{result['ratio_vs_stock']:.1f} times faster ({result['ratio_vs_stock_first']:.1f} times on the first turn); asked for: 3.",
        "",
        "| Noria's stage | first turn | median |",
        "| --- | --- | --- |",
    ]
    skipped = ("stages", "wall")
    lines += [f"| {n} | {first[n]:.2f} | {s:.2f} |" for n, s in median.items() if n not in skipped]
    lines += ["", "| stock node | seconds |", "| --- | --- |"]
    return lines + [f"| {name} | {seconds:.2f} |" for name, seconds in stages.items()]


SECTIONS = (
    ("A warm run against stock TFX", "make bench", "warm_run.json", warm_run),
    ("Warm against cold", "python -m benchmarks.freshness", "freshness.json", freshness),
    ("Continuity", "python -m benchmarks.continuity", "continuity.json", continuity),
    ("Data gate: ordinary weeks and faults", "python -m benchmarks.gates", "gates.json", gates),
    ("Both gates over the year", "python -m benchmarks.year", "year.json", year),
)

if __name__ == "__main__":
    sys.stdout.write(page())

"""docs/performance.md from the results: no figure on that page is written by hand.

python -m benchmarks.page > docs/performance.md
"""

import collections
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SUMS = ("stages", "wall")
Writer = Callable[[dict[str, Any]], list[str]]


def page() -> str:
    """The page, from whatever has been measured; what has not says so."""
    parts = [
        "# Performance and proofs",
        "",
        "Written by `python -m benchmarks.page > docs/performance.md` from `benchmarks/results/`; a test holds it to them.",
        "Two cores, no GPU. Times vary by a third from run to run; the ratios matter.",
        "",
        "## As fast as the work itself",
        "",
        *goals(),
    ]
    for title, command, name, write, plot in SECTIONS:
        parts += ["", f"## {title}", "", f"`{command}`", ""]
        result = _result(name)
        parts += ["Not measured yet."] if result is None else write(result)
        picture = (RESULTS / name).with_suffix(".png")
        if plot and picture.exists():
            parts += ["", f"![{plot}](../benchmarks/results/{picture.name})"]
    return "\n".join([*parts, ""])


def _result(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


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


def contest(result: dict[str, Any]) -> list[str]:
    """Noria, stock and the script by hand, side by side: a warm run, or the full year."""
    stock, hand = "stock_median" in result, "hand_median" in result
    runs = [
        ("stock TFX components", result["stock_median"], len(result["stock_runs"])) if stock else None,
        ("Noria, first turn of a process", result["noria_first"], 1),
        ("Noria, resident process", result["noria_median"], len(result["noria_runs"])),
        ("by hand, first run of a process", result["hand_first"], 1) if hand else None,
        ("by hand, run again", result["hand_median"], len(result["hand_runs"])) if hand else None,
    ]
    lines = [
        f"{result['rows']:,} labelled flights, {result['steps']:,} steps of 256 rows, the same model and slices; imports",
        "excluded, one machine, one run. Noria and stock judge a champion beside the new model; the script does not. A first",
        "run traces functions and starts what TensorFlow starts once.",
        "",
        "| | seconds | median of |",
        "| --- | --- | --- |",
        *(f"| {name} | {seconds['wall']:.1f} | {count} |" for name, seconds, count in filter(None, runs)),
        "",
    ]
    if stock:
        lines.append(
            f"Noria is {result['ratio_vs_stock']:.1f} times faster than stock ({result['ratio_vs_stock_first']:.1f} times on the first turn)."
        )
    if hand:
        lines.append(
            f"It takes {result['ratio_vs_hand']:.2f} times as long as the script ({result['ratio_vs_hand_first']:.2f} times, first turn against first run)."
        )
    tables = [("Noria's stage", "first turn", result["noria_first"], result["noria_median"])]
    if hand:
        tables.append(("by hand", "first run", result["hand_first"], result["hand_median"]))
    for title, begin, first, median in tables:
        lines += ["", f"| {title} | {begin} | median |", "| --- | --- | --- |"]
        lines += [f"| {n} | {first[n]:.2f} | {s:.2f} |" for n, s in median.items() if n not in SUMS]
    if stock:
        lines += ["", "| stock node | median |", "| --- | --- |"]
        lines += [f"| {n} | {s:.2f} |" for n, s in sorted(result["stock_median"].items()) if n not in SUMS]
    return lines


def history(result: dict[str, Any]) -> list[str]:
    """A warm run's cost over the history."""
    few, many = result["few"], result["many"]
    return [
        f"One resident process turns on {len(result['turns'])} spans of {result['span_rows']:,} flights each; with {few['spans']} and with "
        f"{many['spans']}",
        f"older spans in the store it turns on the same newest rows, in turns, {len(few['walls'])} times each.",
        "",
        "| older spans | seconds, median |",
        "| --- | --- |",
        *(f"| {part['spans']} | {part['median']:.2f} |" for part in (few, many)),
        "",
        f"{result['ratio']:.2f} times. The process held {result['turns'][0]['rss_mib']:,.0f} MiB after the first turn and "
        f"{result['turns'][-1]['rss_mib']:,.0f} MiB after the last.",
    ]


def scale(result: dict[str, Any]) -> list[str]:
    """Seconds per million rows."""
    sizes = ", ".join(f"{run['rows']:,}" for run in result["runs"])
    lines = [
        f"Cold runs on synthetic spans of {sizes} rows with {result['columns']} columns, a straight line through the seconds of each stage.",
        "`Transform` analyses, applies and writes; `Evaluator` judges two models on the held-out fifth, and its rows are those.",
        "",
        "| stage | seconds per million rows | fixed seconds | R² |",
        "| --- | --- | --- | --- |",
    ]
    for stage, fit in result["fits"].items():
        lines.append(f"| {stage} | {fit['per_million']:.1f} | {fit['fixed']:.1f} | {fit['r2']:.3f} |")
    return lines


def memory(result: dict[str, Any]) -> list[str]:
    """Peak memory by stage."""
    lines = [
        f"Runs on synthetic spans of {result['rows']:,} rows and {result['columns']} columns, in a process of their own; its resident memory,",
        f"read from outside every {result['every_ms']} ms, above the {result['baseline_mib']:,.0f} MiB that it held after importing TensorFlow.",
        "",
        "| stage | " + " | ".join(f"{run['mode']}: MiB above" for run in result["runs"]) + " |",
        "| --- |" + " --- |" * len(result["runs"]),
    ]
    names = list(dict.fromkeys(name for run in result["runs"] for name in run["stages"]))
    for name in names:
        cells = [
            f"{run['stages'][name]['above_mib']:,.0f}" if name in run["stages"] else ""
            for run in result["runs"]
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    peak = max(run["above_mib"] for run in result["runs"])
    return lines + [
        "",
        f"At most {peak:,.0f} MiB above TensorFlow's own; TFX and TFMA take part of that before the first row is read.",
    ]


def startup(result: dict[str, Any]) -> list[str]:
    """Seconds of starting."""
    lines = [
        f"`noria --help`: {result['help']['median']:.2f} s, median of {len(result['help']['runs'])}.",
        "",
        "| imported in a fresh process | seconds, median |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {found['median']:.1f} |" for name, found in result["imports"].items()]
    return lines + ["", "A resident process pays that once: *Noria, resident process* above pays none of it."]


def hotspots(result: dict[str, Any]) -> list[str]:
    """Where a warm run's processor time goes, before and after."""
    lines = [
        "Seconds under the profiler, which slows Python down. Functions: processor time of the thread that runs the stage, with",
        "all that they call, then of their own alone.",
    ]
    for title, found in (("Before", _result("hotspots_before.json")), ("After", result)):
        if found is None:
            continue
        stages = found["stages"]
        lines += [
            "",
            f"**{title}** (commit {found['machine']['commit']}): {found['wall']:.1f} s, {found['processor']:.1f} s of processor time.",
            "",
            "| stage | seconds | processor | Noria's functions, with what they call | functions alone |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, stage in stages.items():
            tops = (
                "<br>".join(f"{part['seconds']:.2f} `{part['function']}`" for part in stage[kind][:3])
                for kind in ("within", "own")
            )
            lines.append(
                f"| {name} | {stage['seconds']:.2f} | {stage['processor']:.2f} | {' | '.join(tops)} |"
            )
        rest = (
            found[kind] - sum(s[key] for s in stages.values())
            for kind, key in (("wall", "seconds"), ("processor",) * 2)
        )
        lines.append(f"| around them | {' | '.join(f'{max(0.0, seconds):.2f}' for seconds in rest)} | | |")
    return lines


def goals() -> list[str]:
    """What was asked of the speed, and what was reached."""
    rows: list[tuple[str, str, str | None, str]] = []

    def add(what: str, goal: str, file: str, command: str, reached: Callable[[dict[str, Any]], str]) -> None:
        result = _result(file)
        try:
            found = None if result is None else reached(result)
        except KeyError:  # measured in part, or by an older edition of the command
            found = None
        rows.append((what, goal, found, command))

    add(
        "warm run, against stock TFX",
        "at least 10 times faster",
        "warm_run.json",
        "warm_run",
        lambda r: f"{r['ratio_vs_stock']:.1f} times",
    )
    add(
        "warm run, against a script by hand",
        "at most 2 times as long",
        "warm_run.json",
        "warm_run",
        lambda r: f"{r['ratio_vs_hand']:.2f} times",
    )
    add(
        "full year in one cold run, against stock TFX",
        "at least 5 times faster",
        "full_year.json",
        "full_year",
        lambda r: f"{r['ratio_vs_stock']:.1f} times",
    )
    add(
        "warm run with 50 older spans, against 1",
        "at most 1.2 times",
        "history.json",
        "history",
        lambda r: f"{r['ratio']:.2f} times",
    )
    add(
        "seconds per million rows: statistics, analysis, evaluation",
        "linear",
        "scale.json",
        "scale",
        lambda r: ", ".join(
            f"{r['fits'][name]['per_million']:.1f}" for name in ("StatisticsGen", "Transform", "Evaluator")
        ),
    )
    add(
        "peak memory, spans of 5 million rows",
        "2,048 MiB above TensorFlow",
        "memory.json",
        "memory",
        lambda r: f"{max(run['above_mib'] for run in r['runs']):,.0f} MiB ({r['rows']:,} rows)",
    )
    add("`noria --help`", "1 s", "startup.json", "startup", lambda r: f"{r['help']['median']:.2f} s")
    add(
        "resident process, from the new span to the published version",
        "the warm run above",
        "warm_run.json",
        "warm_run",
        lambda r: f"{r['noria_median']['wall']:.1f} s",
    )
    return [
        "All of it with `make bench`, one part with the command named; ratios of medians.",
        "",
        "| what | goal | reached | `python -m benchmarks.` |",
        "| --- | --- | --- | --- |",
        *(
            f"| {what} | {goal} | {reached or 'not measured yet'} | `{command}` |"
            for what, goal, reached, command in rows
        ),
    ]


SECTIONS: tuple[tuple[str, str, str, Writer, str | None], ...] = (
    (
        "A warm run against stock TFX and by hand",
        "python -m benchmarks.warm_run",
        "warm_run.json",
        contest,
        "seconds by kind of work",
    ),
    (
        "A full year in one cold run",
        "python -m benchmarks.full_year",
        "full_year.json",
        contest,
        "seconds by kind of work",
    ),
    (
        "A warm run as the history grows",
        "python -m benchmarks.history",
        "history.json",
        history,
        "seconds and memory, turn by turn",
    ),
    (
        "Seconds per million rows",
        "python -m benchmarks.scale",
        "scale.json",
        scale,
        "seconds of each stage over the rows",
    ),
    ("Memory", "python -m benchmarks.memory", "memory.json", memory, "memory over the time of the runs"),
    ("Starting", "python -m benchmarks.startup", "startup.json", startup, None),
    ("Where a warm run's time goes", "python -m benchmarks.hotspots", "hotspots.json", hotspots, None),
    (
        "Warm against cold",
        "python -m benchmarks.freshness",
        "freshness.json",
        freshness,
        "AUC, log loss and examples, week by week",
    ),
    ("Continuity", "python -m benchmarks.continuity", "continuity.json", continuity, None),
    ("Data gate: ordinary weeks and faults", "python -m benchmarks.gates", "gates.json", gates, None),
    ("Both gates over the year", "python -m benchmarks.year", "year.json", year, None),
)

if __name__ == "__main__":
    sys.stdout.write(page())

"""docs/performance.md from the results: no figure on that page is written by hand.

python -m benchmarks.page > docs/performance.md
"""

import collections
import json
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from benchmarks import measure, page_serving

RESULTS = measure.RESULTS
SUMS = ("stages", "wall")
AROUND = "around the stages"
STALE = "Not measured since the measurement changed."
Writer = Callable[[dict[str, Any]], list[str]]


def page() -> str:
    """The page, from the measurements that exist; a missing one is named."""
    parts = [
        "# Performance and proofs",
        "",
        "Written by `python -m benchmarks.page > docs/performance.md` from `benchmarks/results/`; a test holds it to them.",
        "Two cores, no GPU. Times vary by a third from run to run; the ratios matter. Where each figure comes from, and whether",
        "the machine had other work, is in [the last table](#provenance).",
        "",
        "## As fast as the work itself",
        "",
        *goals(),
    ]
    for title, command, name, write, plot in SECTIONS:
        result = _result(name)
        parts += ["", f"## {title}", "", f"`{(result or {}).get('command', command)}`", ""]
        try:
            parts += ["Not measured yet."] if result is None else write(result)
        except KeyError:  # an older edition of the command
            parts += [STALE]
            continue
        picture = (RESULTS / name).with_suffix(".png")
        if plot and picture.exists():
            parts += ["", f"![{plot}](../benchmarks/results/{picture.name})"]
    return "\n".join(_wrapped([*parts, "", *provenance(), ""]))


def _wrapped(lines: list[str]) -> Iterator[str]:
    """Paragraphs in lines of at most 120 characters; tables, titles and pictures unchanged."""
    for text, paragraph in groupby(lines, lambda line: bool(line) and not line.startswith(("|", "!", "#"))):
        if text:
            yield from textwrap.wrap(" ".join(paragraph), 120, break_long_words=False, break_on_hyphens=False)
        else:
            yield from paragraph


def provenance() -> list[str]:
    """What each section was measured on."""
    lines = [
        "## Provenance",
        "",
        "`others`: how many cores other processes used just before and just after a measurement; above "
        f"{measure.BUSY} it counts as busy.",
        "Older results know only the machine's load of the minute before. A `+` behind a commit: with changes on top.",
        "",
        "| measured | on | commit | TFX, TensorFlow, Python | cores | others | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = dict.fromkeys(name for _, _, name, _, _ in SECTIONS)
    for name in names | dict.fromkeys(["hotspots_before.json", "scale_before.json", "wide_before.json"]):
        if (result := _result(name)) is None:
            continue
        machine = result.get("machine", {})
        seen = [machine[key] for key in ("busy", "busy_after") if machine.get(key) is not None]
        others = ", ".join(f"{cores:.1f}" for cores in seen)
        if not others and "load" in machine:
            others = f"load {machine['load']:.1f}"
        versions = ", ".join(machine[key] for key in ("tfx", "tensorflow", "python") if key in machine)
        busy = measure.busy(result)
        cells = (
            f"`{name.removesuffix('.json')}`",
            machine.get("date", "not recorded"),
            f"`{machine['commit']}`" if machine.get("commit") else "not recorded",
            versions or "not recorded",
            " × ".join(str(machine[key]) for key in ("cores", "processor") if machine.get(key)),
            others or "not recorded",
            "busy: don't trust its seconds" if busy else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def circumstances(result: dict[str, Any]) -> str:
    """A remark beside seconds that were taken on a busy machine, or on one that nobody looked at."""
    busy = measure.busy(result)
    return {True: " (the machine was busy)", False: "", None: " (load not recorded)"}[busy]


def spread(runs: list[float], others: list[float]) -> str:
    """The smallest and the largest ratio that any run of the one has to any of the other.

    >>> spread([10.0, 12.0], [2.0, 4.0])
    '2.5 to 6.0'
    """
    return f"{min(runs) / max(others):.1f} to {max(runs) / min(others):.1f}"


def walls(result: dict[str, Any], name: str) -> list[float]:
    """A contestant's seconds, run by run."""
    return [run["wall"] for run in result[f"{name}_runs"]]


def _result(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def continuity(result: dict[str, Any]) -> list[str]:
    """N steps in one run against N/2, publish, warm start, N/2."""
    lines = [
        "N steps in one run, compared with N/2, publish, warm start in a new process, N/2, on the same batches: the largest",
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
    loss = s["warm_log_loss"] - s["cold_log_loss"]
    auc = s["auc_difference"]
    verdicts = [
        f"{'better' if better else 'worse'} by {name}"
        for name, better in (("AUC", auc >= 0), ("log loss", loss <= 0))
    ]
    both = verdicts[0].split()[0] == verdicts[1].split()[0]
    return [
        f"Over {s['weeks']} consecutive weeks both pipelines predict the *next* week, then train on it. Cold trains on the newest",
        f"{s['cold_weeks']} weeks each time. Expected: warm is better in both, for a tenth of the examples.",
        "",
        "| mean of a week | warm | cold |",
        "| --- | --- | --- |",
        f"| AUC on the next week | {s['warm_auc']:.4f} | {s['cold_auc']:.4f} |",
        f"| log loss on the next week | {s['warm_log_loss']:.4f} | {s['cold_log_loss']:.4f} |",
        f"| examples trained on | {s['warm_examples']:,.0f} | {s['cold_examples']:,.0f} |",
        f"| seconds of a run{circumstances(result)} | {s['warm_seconds']:.1f} | {s['cold_seconds']:.1f} |",
        "",
        f"Warm minus cold, mean and standard error of the weeks: {auc:+.4f} ± {s['auc_error']:.4f} AUC and",
        f"{loss:+.4f} ± {s['log_loss_error']:.4f} log loss, for {s['examples_ratio']:.1%} of the examples: warm is "
        f"{(' and ' if both else ', but ').join(verdicts)}.",
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
    """The pipeline over the whole year."""
    kinds = collections.Counter(
        (record["data_verdict"], record["model_verdict"]) for record in result["runs"]
    )
    lines = ["The whole pipeline over the year, with the example's own settings.", ""]
    lines += ["| data verdict | model verdict | weeks |", "| --- | --- | --- |"]
    lines += [f"| {data} | {model} | {count} |" for (data, model), count in sorted(kinds.items())]
    seconds: dict[str, list[float]] = {"reuse": [], "refresh": []}
    for record in result["runs"]:
        if record.get("mode") == "warm" and record.get("transform") in seconds:
            seconds[record["transform"]].append(sum(record["seconds"].values()))
    if all(seconds.values()):
        reused, refreshed = (statistics.median(seconds[how]) for how in ("reuse", "refresh"))
        lines += [
            "",
            f"Seconds of a warm run's stages, median{circumstances(result)}: {reused:.1f} where it reused the transform "
            f"graph ({len(seconds['reuse'])} weeks), {refreshed:.1f}",
            f"where drift made it refresh the graph, which traces the model again ({len(seconds['refresh'])} weeks).",
        ]
    faults = result["faults"]
    published = sorted({fault["fault"] for fault in faults if fault["published"]})
    spans = sorted({fault["span"] for fault in faults})
    stopped = sum(fault["data_verdict"] == "broken" for fault in faults)
    reached = collections.Counter(
        fault["model_verdict"] for fault in faults if fault["data_verdict"] != "broken"
    )
    further = ", ".join(f"{count} {verdict}" for verdict, count in sorted(reached.items()))
    return lines + [
        "",
        f"Every fault of the table above was given to the whole pipeline in weeks {', '.join(map(str, spans))}: "
        f"{len(faults)} runs.",
        f"{'All' if stopped == len(faults) else 'Of these'} {stopped} were stopped by the data gate; the model gate "
        + (f"judged the rest: {further}." if further else "was not reached."),
        f"Published: {', '.join(published) or 'none'}.",
    ]


def contest(result: dict[str, Any]) -> list[str]:
    """Noria, stock and the script by hand, side by side: a warm run, or the full year."""
    stock, hand = "stock_median" in result, "hand_median" in result
    runs = [
        ("stock TFX components, each run a new process", "stock") if stock else None,
        ("Noria, first run of a process", "noria_first"),
        ("Noria, later runs of it", "noria"),
        ("by hand, first run of a process", "hand_first") if hand else None,
        ("by hand, run again in it", "hand") if hand else None,
    ]
    off = result.get("checks_off")
    lines = [
        f"{result['rows']:,} labelled flights, {result['steps']:,} steps of 256 rows, "
        + ("four rows to train on for each row to evaluate on, " if off else "")
        + "the same",
        "model and slices; imports excluded, one machine, one run. Noria and stock judge a champion beside the new model; the",
        "script does not. Noria replays no older rows (`replay: 0.0`), so that all train on the same rows"
        + (f", and its checks {', '.join(f'`{name}`' for name in off)} are" if off else "."),
        *(
            [
                "off: they compare with the week before, and here a month follows a month, or the same rows again."
            ]
            if off
            else []
        ),
        "",
        "Stock TFX runs as it ships: Beam in memory with one worker, Transform's statistics on. A script is a process that runs",
        "once, and tracing its functions is part of that run; if it is run again in its process, it builds and traces its model",
        "again. Noria's process stays (`noria run --every`), and where it reuses the transform graph it keeps its trace: the",
        "goals are for those later runs. The first run of a process, whose champion another process made, is listed beside",
        "the script's first run.",
        "",
        f"| | seconds{circumstances(result)} | from | to | runs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, key in filter(None, runs):
        if key.endswith("_first"):
            lines.append(f"| {name} | {result[key]['wall']:.1f} | | | 1 |")
        else:
            each = walls(result, key)
            lines.append(
                f"| {name} | {statistics.median(each):.1f} | {min(each):.1f} | {max(each):.1f} | {len(each)} |"
            )
    lines.append("")
    noria = walls(result, "noria")
    if stock:
        lines.append(
            f"Noria is {result['ratio_vs_stock']:.1f} times faster than stock (run by run {spread(walls(result, 'stock'), noria)}; "
            f"{result['ratio_vs_stock_first']:.1f} times on the first run)."
        )
    if hand:
        lines.append(
            f"It takes {result['ratio_vs_hand']:.2f} times as long as the script (run by run {spread(noria, walls(result, 'hand'))}; "
            f"{result['ratio_vs_hand_first']:.2f} times, first run against first run)."
        )
    if "imported_again" in result:
        lines.append(f"Modules that the later runs still imported: {len(result['imported_again'])}.")
    tables = [("Noria's stage", "first run", result["noria_first"], result["noria_median"])]
    if hand:
        tables.append(("by hand", "first run", result["hand_first"], result["hand_median"]))
    for title, begin, first, median in tables:
        lines += ["", f"| {title} | {begin} | median |", "| --- | --- | --- |"]
        lines += [f"| {n} | {first[n]:.2f} | {s:.2f} |" for n, s in median.items() if n not in SUMS]
        if "stages" in median:
            rest = (seconds["wall"] - seconds["stages"] for seconds in (first, median))
            lines.append(f"| {AROUND} | {' | '.join(f'{seconds:.2f}' for seconds in rest)} |")
    if stock:
        median = result["stock_median"]
        lines += ["", "| stock node | median |", "| --- | --- |"]
        lines += [f"| {n} | {s:.2f} |" for n, s in sorted(median.items()) if n not in SUMS]
        lines.append(f"| around the nodes | {median['wall'] - median['stages']:.2f} |")
    return lines


def history(result: dict[str, Any]) -> list[str]:
    """A warm run's cost over the history."""
    few, many, records = result["few"], result["many"], result["runs"]
    warm = records[1:]
    lines = [
        f"One resident process runs on {len(records)} spans of {result['span_rows']:,} flights each; with {few['spans']} and with "
        f"{many['spans']}",
        f"older spans in the store it runs on the same newest rows, alternately, {len(few['walls'])} times each.",
        "",
        f"| older spans | seconds, median{circumstances(result)} | from | to |",
        "| --- | --- | --- | --- |",
        *(
            f"| {part['spans']} | {part['median']:.2f} | {min(part['walls']):.2f} | {max(part['walls']):.2f} |"
            for part in (few, many)
        ),
        "",
        f"{result['ratio']:.2f} times (run by run {spread(many['walls'], few['walls'])}).",
    ]
    if len(warm) >= 20:
        first, last = ([record["wall"] for record in part] for part in (warm[:10], warm[-10:]))
        lines.append(
            f"In the series itself the last ten warm runs took {statistics.median(last) / statistics.median(first):.2f} times "
            f"the first ten (medians {statistics.median(last):.2f} and {statistics.median(first):.2f} s)."
        )
        slope, _ = np.polyfit(range(len(warm)), [record["rss_mib"] for record in warm], 1)
        second, _ = np.polyfit(
            range(len(warm) // 2), [record["rss_mib"] for record in warm[-(len(warm) // 2) :]], 1
        )
        lines.append(
            f"The process held {records[0]['rss_mib']:,.0f} MiB after the first run and {records[-1]['rss_mib']:,.0f} MiB after the last: "
            f"{slope:+.1f} MiB a run over all warm runs, {second:+.1f} over their second half."
        )
    return lines


def scale(result: dict[str, Any]) -> list[str]:
    """Seconds per million rows."""
    sizes = [f"{size:,}" for size in result["sizes"]]
    lines = [
        f"Cold runs on synthetic spans with {result['columns']} columns, medians of {result['repeats']} runs of each size, and a straight line",
        "through them. `Transform` tries the champion's graph, finds that it no longer fits, analyses, applies and writes; `Evaluator` judges two",
        "models on the held-out half, and its rows are those. The last columns say what another million rows costs between one size and",
        "the next: the values are equal where the line is straight; the Evaluator's constant part (loading and tracing models) varies by seconds. Rows that do not fit in memory go from stage to stage on the disk",
        "([decision 10](decisions/0010-batch-cache.md)).",
        "",
        f"| stage | {' | '.join(f'{size} rows' for size in sizes)} | **seconds per million rows** | "
        f"{' | '.join(f'{a} to {b}' for a, b in pairwise(sizes))} |",
        "| --- |" + " --- |" * (2 * len(sizes)),
    ]
    for stage, fit in result["fits"].items():
        seconds, between = (
            " | ".join(f"{value:.1f}" for value in fit[name]) for name in ("medians", "between")
        )
        lines.append(f"| {stage} | {seconds} | **{fit['per_million']:.1f}** | {between} |")
    before = _result("scale_before.json")
    if before is not None and before["runs"][-1]["rows"] in result["sizes"]:
        old = before["runs"][-1]
        at = result["sizes"].index(old["rows"])
        then, now = (
            ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found.items())
            for found in (
                {stage: old["stages"][stage] for stage in result["fits"] if stage != "Evaluator"},
                {stage: fit["medians"][at] for stage, fit in result["fits"].items() if stage != "Evaluator"},
            )
        )
        lines += [
            "",
            f"At commit {before['machine']['commit']}{circumstances(before)}, where rows beyond 256 MiB were decoded from files again, one run on "
            f"{old['rows']:,} rows took, in seconds: {then}. Now: {now} (a fifth was held out then and half now, so Transform "
            "analyses fewer rows). The profile showed two causes: tfx_bsl's decoder, "
            "which Transform asked up to four times for the same rows, and the hash for the split, whose text Python joined from all columns of a row. "
            "Rows now go through an Arrow file, and Arrow joins the text.",
        ]
    return lines


def memory(result: dict[str, Any]) -> list[str]:
    """Peak memory by stage and size."""
    sizes, goal = result["sizes"], result["goal_mib"]
    runs = [(size, run) for size in sizes for run in size["runs"]]
    heads = [f"{run['mode']}, {size['rows']:,} rows" for size, run in runs]
    rows = ", ".join(f"{size['rows']:,}" for size in sizes)
    baselines = ", ".join(f"{size['baseline_mib']:,.0f}" for size in sizes)
    lines = [
        f"Runs on synthetic spans of {rows} rows and {result['columns']} columns, each size in a new process. Resident memory, read",
        f"from outside every {result['every_ms']} ms, in MiB above what the process held after importing TensorFlow "
        f"({baselines}); in brackets",
        "together with what it started, above all the process that probes the model, which imports TensorFlow for itself.",
        f"Pages that both map count {'once' if result.get('shared_pages') == 'once' else 'twice'}.",
        "",
        f"| stage | {' | '.join(heads)} |",
        "| --- |" + " --- |" * len(runs),
    ]
    for name in dict.fromkeys(name for _, run in runs for name in run["stages"]):
        stages = [run["stages"].get(name) for _, run in runs]
        cells = [
            f"{stage['above_mib']:,.0f} ({stage['total_mib']:,.0f})" if stage else "" for stage in stages
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cells = [f"**{run['above_mib']:,.0f}** ({run['total_mib']:,.0f})" for _, run in runs]
    lines += [f"| **highest** | {' | '.join(cells)} |", ""]
    lines.append(f"The goal is {goal:,} MiB on spans of 5,000,000 rows.")
    for mode in dict.fromkeys(run["mode"] for _, run in runs):
        series = [(size["rows"], run["above_mib"]) for size, run in runs if run["mode"] == mode]
        (small, less), (large, more) = min(series), max(series)
        if small < large:
            lines.append(
                f"From {small:,} to {large:,} rows, {large / small:.1f} times as many, the {mode} run's peak went from "
                f"{less:,.0f} to {more:,.0f} MiB, {more / less:.2f} times."
            )
    lines.append(
        "TFX and TFMA take part of that before the first row is read: "
        + ", ".join(f"{size['imported_mib'] - size['baseline_mib']:,.0f}" for size in sizes)
        + " MiB."
    )
    return lines


def wide(result: dict[str, Any]) -> list[str]:
    """Tables with many columns, before and after."""
    goals = result["goals"]
    lines = [
        f"The project that `noria init` drafts from {result['rows']:,} rows, with so many numbers, or numbers + categories; a cold and a",
        "warm run in one fresh process. Seconds, in brackets the process's processor seconds, which other work on the machine hardly",
        "changes. The peak is of the process with everything that it started; importing TFX is apart.",
        "",
        *_wide_table(result),
    ]
    if (before := _result("wide_before.json")) is not None:
        lines += [
            "",
            f"Before, at commit {before['machine']['commit']}{circumstances(before)}, where each column had its own operations:",
            "",
            *_wide_table(before),
        ]
    found = max(result["tables"], key=lambda table: table["numbers"])
    cold, warm = (next(run for run in found["runs"] if run["mode"] == mode) for mode in ("cold", "warm"))
    return [
        *lines,
        "",
        f"Asked of {found['numbers']:,} numbers: {goals['cold']} s cold with the imports ({cold['wall'] + found['imports']:.0f} s, or "
        f"{cold['processor'] + found['imports']:.0f} s of processor time), {goals['warm']} s warm in a process that has run before "
        f"({warm['wall']:.0f} s, or {warm['processor']:.0f} s), {goals['mib']:,} MiB ({cold['peak_mib']:,.0f} cold, "
        f"{warm['peak_mib']:,.0f} warm), a report page of {goals['page'] / 1e6:.0f} MB ({found['page'] / 1e6:.2f} MB).",
    ]


def _wide_table(result: dict[str, Any]) -> list[str]:
    runs = [(table, run) for table in result["tables"] for run in table["runs"]]
    sizes = [
        f"{table['numbers']:,}{' + ' + str(table['categories']) if table['categories'] else ''}, {run['mode']}"
        for table, run in runs
    ]
    rows = [["stage", *sizes], ["---"] * (len(runs) + 1)]
    for name in dict.fromkeys(name for _, run in runs for name in run["stages"]):
        stages = [run["stages"].get(name) for _, run in runs]
        rows.append([name, *(f"{s['seconds']:.1f} ({s['processor']:.1f})" if s else "" for s in stages)])
    rows.append(["**all**", *(f"**{run['wall']:.1f}** ({run['processor']:.1f})" for _, run in runs)])
    rows.append(
        ["imports", *(f"{table['imports']:.1f}" if run["mode"] == "cold" else "" for table, run in runs)]
    )
    rows.append(["peak, MiB", *(f"{run['peak_mib']:,.0f}" for _, run in runs)])
    rows.append(
        ["report page, MB", *(f"{t['page'] / 1e6:.2f}" if r["mode"] == "cold" else "" for t, r in runs)]
    )
    return [f"| {' | '.join(row)} |" for row in rows]


def startup(result: dict[str, Any]) -> list[str]:
    """Seconds of starting."""
    lines = [
        f"`noria --help`: {result['help']['median']:.2f} s, median of {len(result['help']['runs'])}.",
        "",
        "| imported in a fresh process | seconds, median |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {found['median']:.1f} |" for name, found in result["imports"].items()]
    return lines + [
        "",
        "A process pays that once: *Noria, later runs of it* above, from the new span to the published version, pays none of it.",
    ]


def hotspots(result: dict[str, Any]) -> list[str]:
    """Where a warm run's processor time goes, before and after."""
    lines = [
        "Measured under the profiler, which slows Python down. Processor seconds, which other work on the machine hardly changes: of a",
        "stage, all threads of the process; of a function, of the thread that runs the stage.",
    ]
    before = _result("hotspots_before.json")
    if before is not None:
        lines += ["", "| processor seconds of | before | after |", "| --- | --- | --- |"]
        for name in dict.fromkeys([*before["stages"], *result["stages"]]):
            cells = (found["stages"].get(name, {}).get("processor") for found in (before, result))
            lines.append(f"| {name} | {' | '.join('' if s is None else f'{s:.2f}' for s in cells)} |")
        rest = (
            found["processor"] - sum(stage["processor"] for stage in found["stages"].values())
            for found in (before, result)
        )
        lines.append(f"| {AROUND} | {' | '.join(f'{max(0.0, seconds):.2f}' for seconds in rest)} |")
        lines.append(f"| all | {before['processor']:.1f} | {result['processor']:.1f} |")
        lines += [
            "",
            f"Before is commit {before['machine']['commit']}{circumstances(before)}, after {result['machine']['commit']}. "
            "The last table shows the functions after it.",
        ]
    lines += [
        "",
        "The profile led to these changes: rows go from stage to stage in memory instead of files that are written and parsed again;",
        "TFDV's accumulators are merged without Beam ([decision 10](decisions/0010-batch-cache.md)); Noria has its own training loop,",
        "whose trace is kept; and the champion's graph gets new weights instead of being built again",
        "([decision 11](decisions/0011-what-a-resident-process-keeps.md)).",
    ]
    lines += [
        "",
        "| stage | Noria's functions, with what they call | functions alone |",
        "| --- | --- | --- |",
    ]
    for name, stage in result["stages"].items():
        tops = (
            "<br>".join(f"{part['seconds']:.2f} `{part['function']}`" for part in stage[kind][:3])
            for kind in ("within", "own")
        )
        lines.append(f"| {name} | {' | '.join(tops)} |")
    return lines


def goals() -> list[str]:
    """What was asked of the speed, and what was reached."""
    rows: list[tuple[str, str, str | None, str]] = []

    def add(what: str, goal: str, file: str, command: str, reached: Callable[[dict[str, Any]], str]) -> None:
        result = _result(file)
        try:
            found = (
                None if result is None else reached(result) + (" **(busy)**" if measure.busy(result) else "")
            )
        except KeyError:  # measured in part, or by an older edition of the command
            found = None
        rows.append((what, goal, found, command))

    add(
        "warm run, against stock TFX",
        "at least 10 times faster",
        "warm_run.json",
        "warm_run",
        lambda r: f"{r['ratio_vs_stock']:.1f} times ({spread(walls(r, 'stock'), walls(r, 'noria'))})",
    )
    add(
        "warm run, against a script by hand",
        "at most 2 times as long",
        "warm_run.json",
        "warm_run",
        lambda r: f"{r['ratio_vs_hand']:.2f} times ({spread(walls(r, 'noria'), walls(r, 'hand'))})",
    )
    add(
        "full year in one cold run, against stock TFX",
        "at least 5 times faster",
        "full_year.json",
        "full_year",
        lambda r: f"{r['ratio_vs_stock']:.1f} times ({spread(walls(r, 'stock'), walls(r, 'noria'))})",
    )
    add(
        "warm run with 50 older spans, against 1",
        "at most 1.2 times",
        "history.json",
        "history",
        lambda r: f"{r['ratio']:.2f} times ({spread(r['many']['walls'], r['few']['walls'])})",
    )
    add(
        "seconds per million rows: statistics, analysis, evaluation",
        "linear",
        "scale.json",
        "scale",
        lambda r: ", ".join(
            f"{r['fits'][name]['per_million']:.1f} ({' and '.join(f'{part:.1f}' for part in r['fits'][name]['between'])})"
            for name in ("StatisticsGen", "Transform", "Evaluator")
        ),
    )
    add(
        "peak memory, spans of 5 million rows",
        "2,048 MiB above TensorFlow",
        "memory.json",
        "memory",
        lambda r: "; ".join(
            f"{max(run['above_mib'] for run in size['runs']):,.0f} MiB on {size['rows']:,}, with children "
            f"{max(run['total_mib'] for run in size['runs']):,.0f}"
            for size in r["sizes"]
        ),
    )
    add(
        "the first run of a process, against stock TFX and the script's first run",
        "not asked",
        "warm_run.json",
        "warm_run",
        lambda r: (
            f"{r['ratio_vs_stock_first']:.1f} times faster; {r['ratio_vs_hand_first']:.2f} times as long"
        ),
    )
    add("`noria --help`", "1 s", "startup.json", "startup", lambda r: f"{r['help']['median']:.2f} s")
    add(
        "a process that already trained on once, from the new span to the published version",
        "the warm run above",
        "warm_run.json",
        "warm_run",
        lambda r: (
            f"{r['noria_median']['wall']:.1f} s, {len(r['imported_again'])} modules imported"
            if "imported_again" in r
            else f"{r['noria_median']['wall']:.1f} s"
        ),
    )
    return [
        "`make bench` measures all parts, the command in a row one of them. Ratios are of medians; in brackets are the smallest and the",
        "largest ratio of any two runs.",
        "",
        "| what | goal | reached | `python -m benchmarks.` |",
        "| --- | --- | --- | --- |",
        *(
            f"| {what} | {goal} | {reached or 'not measured yet'} | `{command}` |"
            for what, goal, reached, command in rows
        ),
    ]


def object_store(result: dict[str, Any]) -> list[str]:
    """A warm run with its home in a folder and in an object store."""
    homes = {
        "folder": "a folder",
        "store": "an object store, from the same machine",
        "elsewhere": "an object store, from a new machine",
    }
    return [
        "One process for each run. The store (moto) shares the two cores, so its own work is in the seconds; the "
        "network is not.",
        "",
        "| home | command, seconds | its stages, seconds | requests to the store |",
        "| --- | --- | --- | --- |",
        *(
            f"| {title} | {found['command_s']:.1f} | {found['run_s']:.1f} | {found['requests']:,.0f} |"
            for title, found in ((title, result[name]) for name, title in homes.items())
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
        "seconds and memory, run by run",
    ),
    (
        "Seconds per million rows",
        "python -m benchmarks.scale",
        "scale.json",
        scale,
        "seconds of each stage over the rows",
    ),
    ("Memory", "python -m benchmarks.memory", "memory.json", memory, "memory over the time of the runs"),
    ("Tables with many columns", "python -m benchmarks.wide", "wide.json", wide, None),
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
    (
        "The server",
        "python -m benchmarks.serving --kserve PYTHON",
        "serving.json",
        page_serving.serving,
        None,
    ),
    (
        "The home in an object store",
        "python -m benchmarks.object_store",
        "object_store.json",
        object_store,
        None,
    ),
    ("Canaries", "python -m benchmarks.rollouts", "rollouts.json", page_serving.rollouts, None),
    ("Bad requests", "python -m benchmarks.fuzz_serving", "fuzz_serving.json", page_serving.fuzz, None),
)

if __name__ == "__main__":
    sys.stdout.write(page())

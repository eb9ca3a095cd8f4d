"""The pictures of docs/drift.md, and its tables between their markers, from what the benchmarks have written.

python -m benchmarks.page_learning [--out benchmarks/results]
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure

PRODUCT, RIVAL, GUESS = "#1f6feb", "#8c959f", "#d1242f"


def streams(result: dict[str, Any], path: Path) -> None:
    """For each stream the product's loss and the best rival's, span by span, as a share of a guess's."""
    pyplot = measure.pyplot()
    names = list(result["streams"])
    columns = 3
    rows = math.ceil(len(names) / columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(12, 2.4 * rows), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes.flat, names, strict=False):
        found = result["streams"][name][0]
        rival = found["summary"].get("best", "guess")
        spans = [one for one in found["spans"] if "product" in one["measures"]]
        at = [one["span"] for one in spans]
        for who, color, width in ((rival, RIVAL, 1.2), ("product", PRODUCT, 1.8)):
            shares = [one["measures"][who]["loss"] / one["measures"]["guess"]["loss"] for one in spans]
            label = "Noria" if who == "product" else who
            axis.plot(at, np.minimum(shares, 2.5), color=color, lw=width, label=label)
        axis.axhline(1, color=GUESS, lw=0.8, ls=":")
        axis.set_title(name.replace("_", " "), fontsize=10, loc="left")
        axis.legend(frameon=False, fontsize=8, loc="best")
        axis.set_ylim(0, None)
        axis.set_xticks(range(5, at[-1] + 1, 5))
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    figure.supylabel("loss / loss of a guess (red: a guess; cut off at 2.5)", fontsize=9)
    figure.supxlabel("span", fontsize=9)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def tables(result: dict[str, Any], path: Path) -> None:
    """For each table the loss over boosting's, of the product and of a linear model."""
    pyplot = measure.pyplot()
    found = sorted(result["tables"].items(), key=lambda pair: pair[1]["ratio"])
    figure, axis = pyplot.subplots(figsize=(9, 0.3 * len(found) + 1.2), layout="constrained")
    at = np.arange(len(found))
    axis.barh(at, [one["ratio"] for _, one in found], color=PRODUCT, height=0.6, label="Noria")
    linear = [min(one["linear"] / one["boosting"], 2.0) for _, one in found]
    axis.plot(linear, at, "|", color=RIVAL, ms=12, mew=2, label="linear model (cut off at 2)")
    axis.axvline(1, color="black", lw=0.8)
    axis.axvline(1.05, color=GUESS, lw=0.8, ls=":")
    axis.set_yticks(at, [name for name, _ in found])
    axis.invert_yaxis()
    axis.set_xlabel("loss over that of LightGBM with its defaults (red: the goal)")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def streams_table(result: dict[str, Any]) -> list[str]:
    """A row for each stream: means over the seeds, and the worst span of all of them."""
    lines = [
        "| stream | what changes | loss | best reference | excess | worst span | quality | rescues | examples, 1,000 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    every = []
    for name, runs in result["streams"].items():
        found = [run["summary"] for run in runs]
        mean = {
            key: float(np.mean([one[key] for one in found])) for key in ("over_guess", "excess", "examples")
        }
        worst, rescued = max(one["worst_over_guess"] for one in found), sum(one["rescued"] for one in found)
        quality = "AUC {:.3f}" if "auc" in found[0] else "RMSE {:.2f}"
        quality = quality.format(np.mean([one.get("auc", one.get("rmse")) for one in found]))
        best = " / ".join(dict.fromkeys(one["best"] for one in found))
        cells = [f"{mean['over_guess']:.3f}", best, f"{mean['excess']:+.3f}", f"{worst:.2f}", quality]
        cells += [f"{rescued / len(found):.3g}", f"{mean['examples'] / 1000:,.0f}"]
        lines.append(f"| `{name}` | {_about(name)} | {' | '.join(cells)} |")
        every.append((mean["over_guess"], mean["excess"], worst))
    loss, excess, worst = np.array(every).T
    lines.append(
        f"| all | | {loss.mean():.3f} | | {excess.mean():+.3f}, at most {excess.max():+.3f} | {worst.max():.2f} | | | |"
    )
    seeds = {len(runs) for runs in result["streams"].values()}
    said = f"Seeds of each stream: {' to '.join(map(str, sorted(seeds)))}. The rescues make the examples "
    return [*lines, "", f"{said}{_more_examples(result):.2f} times those of runs without them."]


def _more_examples(result: dict[str, Any]) -> float:
    """All examples over those that plain warm runs would have taken in place of the rescues."""
    taken = plain = 0.0
    for runs in result["streams"].values():
        for run in runs:
            each = np.diff([0, *(span["examples"] for span in run["spans"])])
            rescued = np.array([span.get("rescue") is not None for span in run["spans"]])
            warm = each[1:][~rescued[1:] & (each[1:] > 0)]
            taken += each.sum()
            plain += each[~rescued].sum() + (np.median(warm) if len(warm) else 0.0) * rescued.sum()
    return taken / plain if plain else math.nan


def _about(name: str) -> str:
    """The first sentence of a stream's docstring."""
    from benchmarks import drift_streams

    text = (getattr(drift_streams, name).__doc__ or "").strip().rstrip(".")
    return text[:1].lower() + text[1:]


def ingredients_table(result: dict[str, Any]) -> list[str]:
    """A row for each ingredient: what the loss without it is, and what it costs to do without it."""
    names = list(result["streams"])
    lines = [
        "| without | " + " | ".join(f"`{name}`: loss, worst span | cost" for name in names) + " |",
        "| --- |" + " --- | --- |" * len(names),
    ]
    for off, about in result["off"].items():
        cells = []
        for name in names:
            runs = result["streams"][name].get(off, [])
            if not runs:
                cells += ["", ""]
                continue
            loss, cost = (float(np.mean([run[key] for run in runs])) for key in ("loss", "cost"))
            cells.append(f"{loss:.3f}, {max(run['worst'] for run in runs):.2f}")
            cells.append("" if off == "nothing" else f"{cost:+.3f}")
        lines.append(f"| {about} | {' | '.join(cells)} |")
    return lines


def tables_table(result: dict[str, Any]) -> list[str]:
    """A row for each table, and the summary of all."""
    lines = ["| table | task | rows | Noria | linear model |", "| --- | --- | --- | --- | --- |"]
    for name, one in result["tables"].items():
        linear = one["linear"] / one["boosting"]
        lines.append(f"| `{name}` | {one['task']} | {one['rows']:,} | {one['ratio']:.2f} | {linear:.2f} |")
    ratios = np.array([one["ratio"] for one in result["tables"].values()])
    return [
        *lines,
        "",
        f"Median {np.median(ratios):.2f}, mean {ratios.mean():.2f}, worst {ratios.max():.2f}; at most boosting's on "
        f"{(ratios <= 1).sum()} of {len(ratios)} tables.",
    ]


SECTIONS = {"drift": streams_table, "ingredients": ingredients_table, "tables": tables_table}


def page(text: str, results: Path) -> str:
    """A page with its tables as the results say; a section without a result stays as it is.

    Args:
      text: of the page; a section is between `<!-- NAME -->` and `<!-- end of NAME -->`.
      results: the folder of the results.
    """
    for name, table in SECTIONS.items():
        file, begin, end = results / f"{name}.json", f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        if not file.exists() or begin not in text:
            continue
        result = json.loads(file.read_text())
        machine = result["machine"]
        busy = " on a machine with other work" if measure.busy(result) else ""
        made = f"`{result['command']}` at `{machine['commit']}`, {machine['date'][:10]}{busy}."
        before, _, rest = text.partition(begin)
        lines = "\n".join([made, "", *table(result)])
        text = f"{before}{begin}{lines}\n{end}{rest.partition(end)[2]}"
    return text


PAGE = measure.ROOT / "docs" / "drift.md"


def main(argv: Sequence[str] | None = None) -> None:
    """Draws what is there, and writes the page if the results are the committed ones."""
    options = measure.options(measure.parser(__doc__), argv)
    for name, draw in (("drift", streams), ("tables", tables)):
        file = options.out / f"{name}.json"
        if file.exists():
            draw(json.loads(file.read_text()), file.with_suffix(".png"))
            print(f"wrote {file.with_suffix('.png')}")
    if options.out.resolve() == measure.RESULTS:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), options.out), encoding="utf-8")


if __name__ == "__main__":
    main()

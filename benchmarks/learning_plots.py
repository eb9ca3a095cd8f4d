"""The pictures of `benchmarks.drift` and `benchmarks.tables`, from what they have written.

python -m benchmarks.learning_plots [--out benchmarks/results]
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


def main(argv: Sequence[str] | None = None) -> None:
    """Draws what is there."""
    options = measure.options(measure.parser(__doc__), argv)
    for name, draw in (("drift", streams), ("tables", tables)):
        file = options.out / f"{name}.json"
        if file.exists():
            draw(json.loads(file.read_text()), file.with_suffix(".png"))
            print(f"wrote {file.with_suffix('.png')}")


if __name__ == "__main__":
    main()

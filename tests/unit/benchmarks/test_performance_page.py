"""docs/performance.md says what was measured."""

import json
from pathlib import Path

from benchmarks import page


def test_the_page_is_the_results():
    """Each figure on the page comes from a file in benchmarks/results/."""
    text = (Path(page.__file__).parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.page() == text


def test_the_readme_says_what_was_measured():
    """The seconds in the README's comparison with TFX are those of results/warm_run.json."""
    measured = json.loads((page.RESULTS / "warm_run.json").read_text(encoding="utf-8"))
    stock, first, later = (measured[name]["wall"] for name in ("stock_median", "noria_first", "noria_median"))
    text = (Path(page.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert (
        f"a month of flights, imports aside: {stock:.0f} s | "
        f"{later:.1f} s in a process that stays, {measured['ratio_vs_hand']:.2f} times a script by hand; "
        f"{first:.1f} s as a process's first run"
    ) in text

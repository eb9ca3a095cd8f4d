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
    stock, resident = measured["stock_median"]["wall"], measured["noria_median"]["wall"]
    text = (Path(page.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"a warm run on a month of flights: {stock:.0f} s | {resident:.0f} s" in text

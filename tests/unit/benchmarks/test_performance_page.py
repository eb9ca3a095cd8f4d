"""docs/performance.md says what was measured."""

from pathlib import Path

from benchmarks import page


def test_the_page_is_the_results():
    """Each figure on the page comes from a file in benchmarks/results/."""
    text = (Path(page.__file__).parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.page() == text

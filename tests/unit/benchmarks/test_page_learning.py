"""docs/drift.md says what was measured."""

from benchmarks import measure, page_learning


def test_the_tables_are_the_results():
    """Each row between markers comes from a file in benchmarks/results/."""
    text = page_learning.PAGE.read_text(encoding="utf-8")
    assert text == page_learning.page(text, measure.RESULTS)
    assert all(f"<!-- end of {name} -->" in text for name in page_learning.SECTIONS)


def test_several_seeds_are_one_row():
    """The loss is the mean over the seeds, the worst span that of all of them; a cost without a run is empty."""
    summary = {"over_guess": 0.5, "excess": -0.1, "worst_over_guess": 0.9, "examples": 2000, "rescued": 1}
    plain = [{"examples": count} for count in (1_000, 1_100, 1_200)]
    rescued = [{"examples": 1_000}, {"examples": 1_700, "rescue": "cold"}, {"examples": 1_800}]
    other = {"best": "cold 8", "auc": 0.9, "over_guess": 0.7, "worst_over_guess": 1.2}
    runs = [
        {"summary": {**summary, "best": "linear", "auc": 0.8}, "spans": plain},
        {"summary": {**summary, **other}, "spans": rescued},
    ]
    table = page_learning.streams_table({"streams": {"sea": runs}})
    assert "| 0.600 | linear / cold 8 | -0.100 | 1.20 | AUC 0.850 | 1 | 2 |" in table[2]
    assert table[-1].endswith("1.25 times those of runs without them.")  # 3,000 and 2,400
    off = {"nothing": "the product", "clip": "no clip"}
    found = {"sea": {"nothing": [{"loss": 0.5, "worst": 1.0, "cost": 0.0}]}}
    assert ["| the product | 0.500, 1.00 |  |", "| no clip |  |  |"] == page_learning.ingredients_table(
        {"off": off, "streams": found}
    )[2:]

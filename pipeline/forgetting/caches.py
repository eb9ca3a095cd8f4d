"""What was made from the rows and is made again when it is needed: statistics, accumulators, artifacts of runs."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from noria.core import files
from noria.pipeline.forgetting.change import Change


def in_caches(home: Path, versions: Collection[tuple[int, int]], only_find: bool) -> list[Change]:
    """Deletes what holds rows of some versions of spans, or was computed from them.

    Args:
      home: the home.
      versions: (span, version) that held a key.
      only_find: change nothing.
    """
    if not versions:
        return []
    found = []
    spans = {span for span, _ in versions}
    mine = [("statistics", path) for span, version, path in statistics(home) if (span, version) in versions]
    # A dataset is named by its digest too, so that of a span may be one of several versions.
    mine += [("analyzer cache", path) for span, path in accumulators(home) if span is None or span in spans]
    # A window's examples are in one folder.
    mine += [("artifacts", path) for path in sorted((home / "tfx").glob("*"))]
    for store, path in mine:
        found.append(Change(store, path.relative_to(home).as_posix()))
        if not only_find:
            files.remove_tree(path)
    return found


def statistics(home: Path) -> Iterator[tuple[int, int, Path]]:
    """The folders of kept statistics: span, version, path."""
    for path in sorted((home / "statistics").glob("*-v*-*")):
        span, version = re.findall(r"\d+", path.name)[:2]
        yield int(span), int(version), path


def accumulators(home: Path) -> Iterator[tuple[int | None, Path]]:
    """The folders of what Transform keeps of each dataset: the span, if its name tells, and the path."""
    for path in sorted((home / "analyzer_cache").glob("*/*")):
        number = re.match(r"(?:span|replay)-(\d{8})", path.name)
        yield None if number is None else int(number[1]), path

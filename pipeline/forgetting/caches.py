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
    for store, path in _made_from(home, versions):
        found.append(Change(store, path.relative_to(home).as_posix()))
        if not only_find:
            files.remove_tree(path)
    return found


def _made_from(home: Path, versions: Collection[tuple[int, int]]) -> Iterator[tuple[str, Path]]:
    spans = {span for span, _ in versions}
    for path in sorted((home / "statistics").glob("*-v*-*")):
        span, version = re.findall(r"\d+", path.name)[:2]
        if (int(span), int(version)) in versions:
            yield "statistics", path
    for path in sorted((home / "analyzer_cache").glob("*/*")):
        # A dataset is named by its digest too, so that of a span may be one of several versions.
        number = re.match(r"(?:span|replay)-(\d{8})", path.name)
        if number is None or int(number[1]) in spans:
            yield "analyzer cache", path
    for path in sorted((home / "tfx").glob("*")):
        yield "artifacts", path  # a window's examples are in one folder

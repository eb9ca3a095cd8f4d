"""The cache of statistics on disk: complete entries, and no leftovers."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.components.statistics_cache import StatisticsCache
from noria.core import files


def saved(home: Path, content: str) -> StatisticsCache:
    """A cache with one entry for version 1 of span 3."""
    cache = StatisticsCache(home)
    cache.save(statistics_pb2.DatasetFeatureStatisticsList(), 3, 1, "0" * 12, content, {"": "7"})
    return cache


def test_what_a_killed_run_left_is_deleted(tmp_path: Path) -> None:
    """A temporary folder of a killed writer is gone after the next entry is written."""
    left = tmp_path / "statistics" / f"{files.STAGING}1-abc"
    left.mkdir(parents=True)
    (left / "FeatureStats.pb").write_bytes(b"half")
    saved(tmp_path, "one")
    assert ["00000003-v0001-000000000000"] == [path.name for path in (tmp_path / "statistics").iterdir()]


def test_other_examples_replace_an_entry(tmp_path: Path) -> None:
    """One entry for each span, version and schema: the newest content is found, the older is not."""
    saved(tmp_path, "one")
    cache = saved(tmp_path, "two")
    assert None is cache.find(3, 1, "0" * 12, "one")
    found = cache.find(3, 1, "0" * 12, "two")
    assert found is not None
    assert [found] == cache.all()
    assert {"": "7"} == found.fingerprint

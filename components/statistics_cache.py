"""The statistics of each span under `<home>/statistics/`, so that no later run computes them again.

    <home>/statistics/<span:08d>-v<version:04d>-<schema digest>/FeatureStats.pb
                                                                key.json

The folder's name gives span, version and schema. `key.json` adds a digest of the example files' bytes: span and version
determine the rows, but not the columns and the label rule of the config.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from noria.core import files

FILE = "FeatureStats.pb"
_NAME = re.compile(r"^(\d{8})-v(\d{4})-([0-9a-f]{12})$")


@dataclasses.dataclass(frozen=True)
class CachedStatistics:
    """The cached statistics of one span.

    Attributes:
      span: the span's id.
      version: of the span.
      schema: digest of the schema that was used.
      content: digest of the example files' bytes.
      fingerprint: feature → digest of its column, see `fingerprint`: equal for a replayed span.
      path: the file `FeatureStats.pb`; `noria.core.files.fetched` copies it here from an object store. Retirement of a
        span deletes it; `key.json` stays with the fingerprint.
    """

    span: int
    version: int
    schema: str
    content: str
    fingerprint: dict[str, str]
    path: Path


class StatisticsCache:
    """The cached statistics of one project.

    Args:
      home: the project's home folder.
    """

    def __init__(self, home: str | Path):
        self._root = Path(home) / "statistics"

    def find(self, span: int, version: int, schema: str, content: str) -> CachedStatistics | None:
        """The statistics under exactly this key, or None."""
        cached = self._read(self._root / _folder(span, version, schema))
        return cached if cached is not None and cached.content == content and cached.path.is_file() else None

    def previous(self, before: int, schema: str, skip: Collection[int] = ()) -> CachedStatistics | None:
        """The newest statistics of a span older than `before`, or None.

        Args:
          before: id of the current span.
          schema: digest of the current schema; statistics under another one may have other types.
          skip: spans to ignore, those in quarantine: a broken span is not a reference.
        """
        older = [each for each in self.all() if each.span < before and each.schema == schema]
        older = [each for each in older if each.span not in skip and each.path.is_file()]
        return max(older, key=lambda each: (each.span, each.version), default=None)

    def all(self) -> list[CachedStatistics]:
        """All statistics in ascending order of span and version; those of retired spans have no file any more."""
        if not self._root.is_dir():
            return []
        found = [self._read(path) for path in sorted(self._root.iterdir()) if _NAME.match(path.name)]
        return [each for each in found if each is not None]

    def save(
        self,
        statistics: statistics_pb2.DatasetFeatureStatisticsList,
        span: int,
        version: int,
        schema: str,
        content: str,
        fingerprint: dict[str, str],
    ) -> CachedStatistics:
        """Writes the statistics; older ones of the same span, version and schema are replaced.

        A reader sees the old folder, no folder, or the new one, also after a crash. What killed runs left is deleted.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        files.sweep(self._root)  # one run at a time holds the home folder
        folder = self._root / _folder(span, version, schema)
        beside = files.staging(self._root)
        beside.mkdir()
        key: dict[str, Any] = {"span": span, "version": version, "schema": schema, "content": content}
        (beside / FILE).write_bytes(statistics.SerializeToString())
        (beside / "key.json").write_text(json.dumps({**key, "fingerprint": fingerprint}), encoding="utf-8")
        files.replace_folder(beside, folder)
        return CachedStatistics(path=folder / FILE, fingerprint=fingerprint, **key)

    def _read(self, folder: Path) -> CachedStatistics | None:
        try:
            key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
            return CachedStatistics(path=folder / FILE, **key)
        except (OSError, ValueError, TypeError):
            return None  # incomplete


def content_digest(paths: Sequence[Path]) -> str:
    """sha256 of the files' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def fingerprint(dataset: statistics_pb2.DatasetFeatureStatistics) -> dict[str, str]:
    """Digests that are equal if two spans hold the same rows, feature by feature; the number of rows under "".

    A feature's counts, extremes, mean to 6 digits (it differs in the last digit with the order of summation) and
    all category counts.
    """
    digests = {"": str(int(dataset.num_examples))}
    for feature in dataset.features:
        kind = feature.WhichOneof("stats")
        if kind is None:
            continue
        stats = getattr(feature, kind)
        constant = (
            stats.min == stats.max if kind == "num_stats" else kind == "string_stats" and stats.unique < 2
        )
        if constant:
            continue  # equal in all spans
        summary: list = [stats.common_stats.num_non_missing]
        if kind == "num_stats":
            summary += [stats.min, stats.max, stats.num_zeros, f"{stats.mean:.6g}"]
        elif kind == "string_stats":
            summary += [stats.unique]
            summary += sorted((bucket.label, bucket.sample_count) for bucket in stats.rank_histogram.buckets)
        digests[feature.path.step[0]] = hashlib.sha256(json.dumps(summary).encode()).hexdigest()[:12]
    return digests


def _folder(span: int, version: int, schema: str) -> str:
    return f"{span:08d}-v{version:04d}-{schema}"

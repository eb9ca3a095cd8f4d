"""Statistics kept per span under `<home>/statistics/`, so that no later run computes them again.

    <home>/statistics/<span:08d>-v<version:04d>-<schema digest>/FeatureStats.pb
                                                                key.json

The folder's name says what the statistics are of. `key.json` adds a digest of the example files' bytes: a span
and its late-data version fix the rows, but not the columns and the label rule that the config applied to them.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2

FILE = "FeatureStats.pb"
_NAME = re.compile(r"^(\d{8})-v(\d{4})-([0-9a-f]{12})$")


@dataclasses.dataclass(frozen=True)
class Kept:
    """One span's kept statistics.

    Attributes:
      span: the span's id.
      version: its late-data version.
      schema: digest of the schema they were computed under.
      content: digest of the example files' bytes.
      fingerprint: feature → digest of what its column holds, see `fingerprint`: equal for a replayed span.
      path: the file `FeatureStats.pb`.
    """

    span: int
    version: int
    schema: str
    content: str
    fingerprint: dict[str, str]
    path: Path


class KeptStatistics:
    """The folder of kept statistics of one project.

    Args:
      home: the project's home folder.
    """

    def __init__(self, home: str | Path):
        self._root = Path(home) / "statistics"

    def find(self, span: int, version: int, schema: str, content: str) -> Kept | None:
        """The statistics kept under exactly this key, or None."""
        kept = self._read(self._root / _folder(span, version, schema))
        return kept if kept is not None and kept.content == content else None

    def previous(self, before: int, schema: str, skip: Collection[int] = ()) -> Kept | None:
        """The newest kept statistics of a span older than `before`, or None.

        Args:
          before: id of the span that looks back.
          schema: digest of today's schema; statistics under another one may hold other types.
          skip: spans to pass over, quarantined ones: a broken span is no reference.
        """
        older = [kept for kept in self.all() if kept.span < before and kept.schema == schema]
        older = [kept for kept in older if kept.span not in skip]
        return max(older, key=lambda kept: (kept.span, kept.version), default=None)

    def all(self) -> list[Kept]:
        """All kept statistics in ascending order of span and version."""
        if not self._root.is_dir():
            return []
        found = [self._read(path) for path in sorted(self._root.iterdir()) if _NAME.match(path.name)]
        return [kept for kept in found if kept is not None]

    def save(
        self,
        statistics: statistics_pb2.DatasetFeatureStatisticsList,
        span: int,
        version: int,
        schema: str,
        content: str,
        fingerprint: dict[str, str],
    ) -> Kept:
        """Keeps the statistics; what was kept for the same span, version and schema before is replaced.

        A reader, or a run killed half-way, sees the old folder, none, or the new one.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        folder = self._root / _folder(span, version, schema)
        beside = self._root / f".{folder.name}.{uuid.uuid4().hex}"
        beside.mkdir()
        _write(beside / FILE, statistics.SerializeToString())
        key = {"span": span, "version": version, "schema": schema, "content": content}
        _write(beside / "key.json", json.dumps({**key, "fingerprint": fingerprint}).encode())
        if folder.exists():
            # A folder cannot be renamed over one that holds files: the old one steps aside first. A crash in between
            # leaves none, and the next run computes it again.
            aside = self._root / f".{folder.name}.{uuid.uuid4().hex}"
            os.rename(folder, aside)
            shutil.rmtree(aside)
        os.rename(beside, folder)
        return Kept(path=folder / FILE, fingerprint=fingerprint, **key)

    def _read(self, folder: Path) -> Kept | None:
        try:
            key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
            path = folder / FILE
            return Kept(path=path, **key) if path.is_file() else None
        except (OSError, ValueError, TypeError):
            return None  # half of it, or from another release: as good as not kept


def content_digest(files: Sequence[Path]) -> str:
    """sha256 of the files' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def fingerprint(dataset: statistics_pb2.DatasetFeatureStatistics) -> dict[str, str]:
    """Digests of what makes two spans the same rows, feature by feature; the number of rows under "".

    A feature's counts, extremes, mean to 6 digits (it differs in the last digit with the order of summation) and
    all category counts.
    """
    marks = {"": str(int(dataset.num_examples))}
    for feature in dataset.features:
        kind = feature.WhichOneof("stats")
        if kind is None:
            continue
        stats = getattr(feature, kind)
        constant = (
            stats.min == stats.max if kind == "num_stats" else kind == "string_stats" and stats.unique < 2
        )
        if constant:
            continue  # equal from span to span without being the same rows
        fact: list = [stats.common_stats.num_non_missing]
        if kind == "num_stats":
            fact += [stats.min, stats.max, stats.num_zeros, f"{stats.mean:.6g}"]
        elif kind == "string_stats":
            fact += [stats.unique]
            fact += sorted((bucket.label, bucket.sample_count) for bucket in stats.rank_histogram.buckets)
        marks[feature.path.step[0]] = hashlib.sha256(json.dumps(fact).encode()).hexdigest()[:12]
    return marks


def _folder(span: int, version: int, schema: str) -> str:
    return f"{span:08d}-v{version:04d}-{schema}"


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

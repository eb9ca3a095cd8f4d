"""The analyzers' accumulators of each span, so that a refresh over the window analyses new spans only.

Files, keys and coders are TFT's own (`tft_beam.analyzer_cache`), so the in-process path and the Beam path read each
other's files. A dataset is identified by the bytes of its files, not by its number: a span that was rewritten is
another dataset.

    <home>/analyzer_cache/<code and schema>/<dataset>/{MANIFEST, METADATA-…, <n>-00000-of-00001.gz}
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from noria.components.internals import tft_beam as tft_beam_internals
from noria.components.internals.tft import tf
from noria.components.internals.tft_beam import DatasetKey
from noria.core import files

logger = logging.getLogger(__name__)

_DIGESTS = "DIGESTS.json"


class AnalyzerCache:
    """The accumulators of one version of the preprocessing code and the schema.

    Args:
      home: the project's home folder; '' caches nothing.
      code_digest, schema_digest: what the accumulators depend on, apart from the rows.
    """

    def __init__(self, home: str, code_digest: str, schema_digest: str):
        python = f"py{sys.version_info.major}{sys.version_info.minor}"  # TFT's keys depend on it
        name = f"{hashlib.sha256((code_digest + schema_digest).encode()).hexdigest()[:16]}-{python}"
        self.folder = os.path.join(home, "analyzer_cache", name) if home else ""

    def undamaged(self, keys: Iterable[DatasetKey]) -> list[DatasetKey]:
        """The datasets whose accumulators are complete and undamaged; damaged ones are deleted.

        TensorFlow and Beam read a truncated gzip file as an empty one, so the files are checked by digest.
        """
        found = []
        for key in keys:
            folder = Path(self.folder, key.key)
            if not self.folder or not key.is_cached or not folder.is_dir():
                continue
            files.fetched(folder)
            try:
                whole = json.loads((folder / _DIGESTS).read_text()) == _digests(folder)
            except (OSError, ValueError):
                whole = False
            if whole:
                found.append(key)
            else:
                logger.warning("The analyzer cache in %s is damaged; it is deleted", folder)
                with contextlib.suppress(OSError):
                    files.remove_tree(folder)
        return found

    def read(self, keys: Iterable[DatasetKey]) -> dict[DatasetKey, dict[bytes, list[bytes]]]:
        """Encoded accumulators of the datasets that have some."""
        found = {}
        for key in self.undamaged(keys):
            folder = os.path.join(self.folder, key.key)
            found[key] = {
                entry: _read_records(glob(os.path.join(folder, f"{number}-*-of-*")))
                for entry, number in tft_beam_internals.read_manifest(folder).items()
            }
        return found

    def write(self, entries: dict[DatasetKey, dict[bytes, list[bytes]]], rows_bytes: int = 0) -> None:
        """Writes new datasets; each appears complete, by one rename."""
        if not self.folder or not entries:
            return
        self._sweep()
        made = files.staging(Path(self.folder))
        try:
            for key, encoded in entries.items():
                folder = os.path.join(made, key.key)
                os.makedirs(folder)
                for number, values in enumerate(encoded.values()):
                    _write_records(os.path.join(folder, f"{number}-00000-of-00001.gz"), values, "GZIP")
                metadata = tft_beam_internals.DatasetCacheMetadata(rows_bytes).encode()
                name = f"{tft_beam_internals.CACHE_METADATA}-00000-of-00001"
                _write_records(os.path.join(folder, name), [metadata], "")
                tft_beam_internals.write_manifest(
                    folder, {entry: number for number, entry in enumerate(encoded)}
                )
            self._commit(made)
        except (OSError, tf.errors.OpError) as error:  # such as a full disk: the run continues
            logger.warning("The analyzer cache %s was not written: %s", self.folder, error)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        self._delete_other_code()

    def publish(self, made: str) -> None:
        """Copies the datasets below `made`, which may be on another disk, into the cache."""
        if self.folder:
            self._sweep()
            self._commit(Path(made))

    def _commit(self, made: Path) -> None:
        """Each dataset appears complete, by one rename, unless it exists already."""
        for folder in sorted(path for path in made.iterdir() if path.is_dir()):
            target = Path(self.folder) / folder.name
            if target.exists():
                continue
            beside = files.staging(target.parent)
            try:
                files.copy_tree(folder, beside)
                (beside / _DIGESTS).write_text(json.dumps(_digests(beside)))
                files.commit_folder(beside, target)
            except OSError as error:  # another run was first, or the disk is full: the run continues
                logger.warning("The analyzer cache %s was not written: %s", target, error)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def _sweep(self) -> None:
        """Deletes what a killed run left; one run at a time holds the home folder."""
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        try:
            files.sweep(Path(self.folder))
        except OSError as error:
            logger.warning("What a killed run left in %s cannot be deleted: %s", self.folder, error)

    def _delete_other_code(self) -> None:
        """Deletes the accumulators of other code, which no run will use."""
        for folder in Path(self.folder).parent.iterdir():
            if folder.is_dir() and folder != Path(self.folder):
                with contextlib.suppress(OSError):
                    files.remove_tree(folder)


def dataset_key(files: Sequence[str], cached: bool = True) -> DatasetKey:
    """A dataset's key: the start of the first file's name, and the digest of the files' bytes."""
    digest = hashlib.sha256()
    for file in sorted(files):
        with open(file, "rb") as content:
            for block in iter(lambda: content.read(1 << 20), b""):
                digest.update(block)
    prefix = group_name(files[0])
    key = DatasetKey(f"{prefix}-{digest.hexdigest()[:16]}")
    return key if cached else key.non_cacheable()


def group_name(file: str) -> str:
    """'span-00000005' of '…/span-00000005-00000-of-00004.gz'; the whole name if it is not a shard's."""
    name = os.path.basename(file).removesuffix(".gz")
    parts = name.rsplit("-", 3)
    return parts[0] if len(parts) == 4 and parts[2] == "of" else name


def _digests(folder: Path) -> dict[str, str]:
    """sha256 of each file in a dataset's folder, by name."""
    return {name: digest for name, digest in files.tree_digests(folder).items() if name != _DIGESTS}


def _read_records(files: Sequence[str]) -> list[bytes]:
    return list(tf.data.TFRecordDataset(sorted(files), compression_type="GZIP").as_numpy_iterator())


def _write_records(path: str, values: Sequence[bytes], compression: str) -> None:
    with tf.io.TFRecordWriter(path, compression or None) as records:
        for value in values:
            records.write(value)

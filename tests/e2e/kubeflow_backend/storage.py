"""The object store and the artifact records, in a folder and in memory.

Copying follows `backend/src/v2/objectstore`: files only, so that an empty folder does not arrive, and by prefix, so
that reading `model` also fetches `model_run` beside it. Records follow `backend/src/v2/metadata`.
"""

import shutil
from pathlib import Path
from typing import Any

MIRRORS = {"s3://": "s3", "minio://": "minio", "gs://": "gcs"}


def local_path(uri: str, root: Path) -> Path | None:
    """The launcher's folder for a URI (`LocalPathForURI`); None for a scheme that it does not know."""
    for scheme, folder in MIRRORS.items():
        if uri.startswith(scheme):
            return root / folder / uri[len(scheme) :]
    return None


class StoreRefused(Exception):
    """The store takes nothing: no such bucket, or no right to it."""


class ObjectStore:
    """Blobs by URI, each a file below `folder`. While `refusal` is set, uploads are refused with it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.refusal: str | None = None

    def upload(self, local: Path, uri: str) -> bool:
        """Copies a file, or the files of a folder; False where there is nothing."""
        if not local.exists():
            return False
        if self.refusal is not None:
            raise StoreRefused(self.refusal)
        for path in [local] if local.is_file() else [each for each in local.rglob("*") if each.is_file()]:
            key = self._key(uri) / path.relative_to(local)
            key.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, key)
        return True

    def download(self, uri: str, local: Path) -> None:
        """Copies every blob whose key starts with the URI's."""
        key = self._key(uri)
        for path in key.parent.glob(f"{key.name}*"):
            target = local.parent / path.name
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            else:
                # Blobs lose what a file system knows of them: links and rights.
                shutil.copytree(path, target, copy_function=shutil.copyfile, dirs_exist_ok=True)

    def _key(self, uri: str) -> Path:
        path = local_path(uri, self.folder)
        assert path is not None, f"no bucket for {uri}"
        return path


class Records:
    """What ML Metadata keeps of artifacts: a number, a place, custom properties; no instance schema."""

    def __init__(self) -> None:
        self._artifacts: list[dict[str, Any]] = []

    def record(self, name: str, artifact: dict[str, Any]) -> dict[str, Any]:
        """Records an output and returns it as its consumers get it (`toMLMDArtifact`, then `toRuntimeArtifact`).

        Raises:
          ValueError: a property that ML Metadata has no kind for.
        """
        metadata = {key: _stored(key, value) for key, value in artifact.get("metadata", {}).items()}
        metadata.setdefault("display_name", name)
        metadata.setdefault("store_session_info", '{"Provider":"minio"}')
        kept = {
            "name": str(len(self._artifacts) + 1),
            "uri": artifact["uri"],
            "type": {"instanceSchema": ""},
            "metadata": metadata,
        }
        self._artifacts.append(kept)
        return kept


def _stored(key: str, value: Any) -> Any:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    raise ValueError(f"unknown/unsupported value type of {key!r}: {value!r}")
